//go:build tools

// Package tools names the command that the lab builds, so that go.mod and go.sum pin it and all it needs.
package tools

import _ "sigs.k8s.io/kwok/pkg/kwok/cmd"
