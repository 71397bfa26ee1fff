// Package seal carries sealed records over any net.Conn.
package seal

import _ "github.com/flynn/noise" // the handshake
