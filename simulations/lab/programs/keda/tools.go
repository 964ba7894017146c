//go:build tools

// Package tools names the commands that the lab builds, so that go.mod and go.sum pin them and all they need.
package tools

import (
	_ "github.com/kedacore/keda/v2/cmd/adapter"
	_ "github.com/kedacore/keda/v2/cmd/operator"
)
