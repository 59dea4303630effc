module ramjet/interop

go 1.25.0

require github.com/nats-io/nsc/v2 v2.15.0
