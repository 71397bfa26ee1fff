package observe_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/surefoot-go/surefoot/observe"
)

// A room is handed Sinks and fills what its caller left out.
func Example() {
	plain := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	sinks := observe.Sinks{Log: plain}.OrDefault()

	_, span := sinks.Tracer.Tracer("example").Start(context.Background(), "checkout")
	defer span.End()
	sinks.Log.Info("paid")
	fmt.Println("recording:", span.IsRecording()) // nobody installed a provider
	// Output:
	// level=INFO msg=paid
	// recording: false
}
