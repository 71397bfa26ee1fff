// Package pipe is a Go channel of bytes between services, encrypted.
package pipe
