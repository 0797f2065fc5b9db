// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"errors"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// codec compresses pages. The codec that comes with the Parquet library takes
// 8 MB for each encoder, as for inputs of any size; pages are small. It is safe
// for concurrent use.
type codec struct{ encoder *zstd.Encoder }

// newCodec returns a codec for the tables of one import.
func newCodec() (*codec, error) {
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(2), // connections and intel
		zstd.WithWindowSize(4*pageBytes),
		zstd.WithLowerEncoderMem(true),
		zstd.WithZeroFrames(true),
		// Readers check the sums of frames; few look at those of pages.
		zstd.WithEncoderCRC(true),
	)
	if err != nil {
		return nil, err
	}
	return &codec{e}, nil
}

// String implements compress.Codec.
func (*codec) String() string { return "ZSTD" }

// CompressionCodec implements compress.Codec.
func (*codec) CompressionCodec() format.CompressionCodec { return format.Zstd }

// Encode implements compress.Codec.
func (c *codec) Encode(dst, src []byte) ([]byte, error) {
	return c.encoder.EncodeAll(src, dst[:0]), nil
}

// Decode implements compress.Codec. A writer never reads.
func (*codec) Decode(_, _ []byte) ([]byte, error) { return nil, errors.ErrUnsupported }
