// Package config is typed settings that change while a service runs, laid in
// layers: default < file < environment < config centre.
//
//	c := &config.Config{Service: "order", Centre: &etcd.Settings{KV: kv}, LastGood: "/var/lib/order"}
//	limits := config.Bind(c, "limits", Limits{Max: 20, Wait: time.Second})
//	err := c.Load(ctx) // package service does this, and Run
//	...
//	limits.Get().Max // one atomic load
//
// A layer says as much as it wants to: fields of structs go over those below
// one by one, lists and maps as a whole, null says nothing. What is written is
// read strictly: an unknown key is an error with its line (package tree), and a
// type's Validate has the last word. A bad value never replaces a good one: not
// while running, and, with LastGood, not over a restart while the centre is away.
// A file and a value of the centre that do not fit together keep those that did.
// A centre that comes back without its data has deleted nothing: what it lacks
// stays until somebody writes it anew.
//
// A Push is a value on its way: every process checks it, those that are chosen
// run it, and when it is taken away they are back where they were. Each process
// reports which revision of each key it runs, has checked and refuses, as
// metrics surefoot.config.revision, .checked and .refused.
package config
