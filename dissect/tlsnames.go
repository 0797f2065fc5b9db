// SPDX-License-Identifier: Apache-2.0

package dissect

import "strings"

// ecdhe reports whether a suite's server key exchange names a curve.
func ecdhe(cipher uint32) bool {
	name := cipherName(cipher)
	return strings.HasPrefix(name, "TLS_ECDH")
}

func versionName(version uint16) string {
	switch version {
	case versionSSL2:
		return "SSLv2"
	case versionSSL3:
		return "SSLv3"
	case 0x0301:
		return "TLSv10"
	case 0x0302:
		return "TLSv11"
	case versionTLS12:
		return "TLSv12"
	case versionTLS13:
		return "TLSv13"
	case versionDTLS10:
		return "DTLSv10"
	case versionDTLS12:
		return "DTLSv12"
	case versionDTLS13:
		return "DTLSv13"
	}
	return ""
}

// alertName returns the name of an alert, "" if it has none.
func alertName(alert uint8) string {
	switch alert {
	case 0:
		return "close_notify"
	case 10:
		return "unexpected_message"
	case 20:
		return "bad_record_mac"
	case 21:
		return "decryption_failed"
	case 22:
		return "record_overflow"
	case 30:
		return "decompression_failure"
	case 40:
		return "handshake_failure"
	case 41:
		return "no_certificate"
	case 42:
		return "bad_certificate"
	case 43:
		return "unsupported_certificate"
	case 44:
		return "certificate_revoked"
	case 45:
		return "certificate_expired"
	case 46:
		return "certificate_unknown"
	case 47:
		return "illegal_parameter"
	case 48:
		return "unknown_ca"
	case 49:
		return "access_denied"
	case 50:
		return "decode_error"
	case 51:
		return "decrypt_error"
	case 60:
		return "export_restriction"
	case 70:
		return "protocol_version"
	case 71:
		return "insufficient_security"
	case 80:
		return "internal_error"
	case 86:
		return "inappropriate_fallback"
	case 90:
		return "user_canceled"
	case 100:
		return "no_renegotiation"
	case 110:
		return "unsupported_extension"
	case 111:
		return "certificate_unobtainable"
	case 112:
		return "unrecognized_name"
	case 113:
		return "bad_certificate_status_response"
	case 114:
		return "bad_certificate_hash_value"
	case 115:
		return "unknown_psk_identity"
	case 116:
		return "certificate_required"
	case 117:
		return "general_error"
	case 120:
		return "no_application_protocol"
	case 121:
		return "ech_required"
	}
	return ""
}

// curveName returns the name of a group, "" if it has none.
func curveName(curve uint16) string {
	switch {
	case curve-1 < 41:
		return word(uint32(curve-1), "sect163k1 sect163r1 sect163r2 sect193r1 sect193r2 sect233k1 "+
			"sect233r1 sect239k1 sect283k1 sect283r1 sect409k1 sect409r1 sect571k1 sect571r1 "+
			"secp160k1 secp160r1 secp160r2 secp192k1 secp192r1 secp224k1 secp224r1 secp256k1 "+
			"secp256r1 secp384r1 secp521r1 brainpoolP256r1 brainpoolP384r1 brainpoolP512r1 x25519 "+
			"x448 brainpoolP256r1tls13 brainpoolP384r1tls13 brainpoolP512r1tls13 GC256A GC256B "+
			"GC256C GC256D GC512A GC512B GC512C curveSM2")
	case curve-256 < 5:
		return word(uint32(curve-256), "ffdhe2048 ffdhe3072 ffdhe4096 ffdhe6144 ffdhe8192")
	case curve-512 < 3:
		return word(uint32(curve-512), "MLKEM512 MLKEM768 MLKEM1024")
	case curve-4587 < 4:
		return word(uint32(curve-4587),
			"SecP256r1MLKEM768 X25519MLKEM768 SecP384r1MLKEM1024 curveSM2MLKEM768")
	case curve&0x0f0f == 0x0a0a && curve>>8 == curve&0xff:
		return "grease_0x" + word(uint32(curve>>12),
			"0A0A 1A1A 2A2A 3A3A 4A4A 5A5A 6A6A 7A7A 8A8A 9A9A AAAA BABA CACA DADA EAEA FAFA")
	}
	switch curve {
	case 16696:
		return "CECPQ2"
	case 25497:
		return "X25519Kyber768Draft00"
	case 25498:
		return "SecP256r1Kyber768Draft00"
	case 0xff01:
		return "arbitrary_explicit_prime_curves"
	case 0xff02:
		return "arbitrary_explicit_char2_curves"
	}
	return ""
}
