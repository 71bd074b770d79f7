//go:build small

package main

// proxyCommands is empty: a small build has no TCP/IP stack of its own.
type proxyCommands struct{}

type proxyStatus struct{}
