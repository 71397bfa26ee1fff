// Package seal carries sealed records over any net.Conn: both ends hold a
// pre-shared key, and what is between them, a proxy that ends TLS too, sees
// sizes and times only.
//
//	c, err := seal.Client(ctx, conn, seal.Config{Keys: ring, Service: "payment", Identity: "order"})
//	b := seal.NewBuffer(c.MaxPayload())
//	b = append(b, frames...)
//	err = c.WriteRecord(b) // sealed in place, one system call
//
// # The wire, version 1
//
// The handshake is Noise_NNpsk0_25519_AESGCM_SHA256: keys come from the
// pre-shared key and an ephemeral exchange, so a key that is stolen later does
// not open what was recorded, and no two sessions have keys in common.
//
//	client  "sfp" 1 | n, 1 byte | key id, n bytes | Noise message 1, 56 bytes: e, sealed time in ms since 1970
//	server  Noise message 2, 48 bytes: e, ee, tag | hello record, 288 bytes
//	client  hello record, 288 bytes
//	both    records
//
// The prologue is what travels in clear before message 1, then the length of
// Config.Service in one byte, and Service. A hello says the longest record
// that its sender takes (4 bytes), and its Identity (1 byte of length, the
// name), and is padded to its fixed length. Numbers are big endian.
//
//	record  kind and marks, 1 byte | length of what follows, 3 bytes | AES-256-GCM of the payload, tag of 16
//
// Kinds: 1 hello, 2 data, 3 close. Marks: 0x10 the payload ends in zeros and
// its own length in 4 bytes; 0x20 the last record under its key. The header is
// the additional data, the nonce 4 zeros and the number of the record, counted
// in each direction from the hello, 0, and never set back. After mark 0x20
// the key is replaced by Noise's REKEY; see RekeyRecords for when.
//
// A record is good in its place in its session and nowhere else. Whatever is
// wrong ends the session and the peer hears nothing of why. A server does no
// public-key arithmetic for who has not the key, comes late, or comes again.
//
// # What it is not for
//
// It hides neither that two services speak, nor when, nor, without Config.Pad,
// how much. All holders of a key can pass for each other unless Key.Identities
// says otherwise, and then for those names only. The key id, the kind of a
// record and its marks are readable. It is no TLS: there are no certificates.
package seal
