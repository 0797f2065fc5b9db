// SPDX-License-Identifier: Apache-2.0

// Package storetest is the suite that every driver of a store must pass: it
// fills a store with data, asks it, and compares each answer with what follows
// from the data in a few obvious lines.
package storetest
