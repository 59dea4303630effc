module ramjet/interop

go 1.25.0

require github.com/nats-io/nsc/v2 v2.15.0

require (
	github.com/nats-io/nkeys v0.4.16 // indirect
	golang.org/x/crypto v0.52.0 // indirect
	golang.org/x/sys v0.45.0 // indirect
)
