// Package seal carries sealed records over any net.Conn.
package seal
