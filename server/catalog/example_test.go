package catalog_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/surefoot-go/surefoot/server/catalog"
)

func Example() {
	dir, err := os.MkdirTemp("", "catalog")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			panic(err)
		}
	}
	write("catalog-info.yaml", "kind: Component\nmetadata:\n  name: payment\nspec:\n  owner: group:team-payments\n")
	write("runbook.md", "---\ntitle: payment\n---\n\n## Errors (error_share)\n\nLook at the versions first.\n\n## Slow answers (latency_p99)\n\nLook at the bank.\n")

	cat, err := catalog.Load(dir)
	if err != nil {
		fmt.Println(err) // one line for each bad file; cat holds the good ones
	}
	title, body, _ := cat.Section("payment", "latency_p99")
	fmt.Println(cat.Owner("payment"))
	fmt.Println(title + ": " + body)
	// Output:
	// team-payments
	// Slow answers (latency_p99): Look at the bank.
}
