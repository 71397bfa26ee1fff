package ingest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/surefoot-go/surefoot/server/ingest"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/store/pebble"
)

func ExampleReceiver() {
	dir, err := os.MkdirTemp("", "ingest")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db, err := pebble.Open(dir, pebble.Options{Reserve: -1})
	if err != nil {
		panic(err)
	}
	defer db.Close()

	r := &ingest.Receiver{Logs: db.Logs()}
	server := httptest.NewUnstartedServer(nil)
	server.Config = r.HTTPServer()
	server.Start()
	defer server.Close()

	resp, err := http.Post(server.URL+"/v1/logs", "application/json", strings.NewReader(
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"out of stock"}}]}]}]}`))
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	logs, err := db.Logs().Search(context.Background(), store.LogQuery{})
	fmt.Println(resp.StatusCode, logs[0].Body, err)
	// Output: 200 out of stock <nil>
}
