// Package tap writes the Test Anything Protocol, version 13 (https://testanything.org/tap-version-13-specification.html).
//
// The validation programs of the OCI's runtime-tools import a package of this path, which Debian does not have.
// This one has the functions that they call, and nothing else.
package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T is one program's output: a header, numbered lines, and a plan.
type T struct {
	// Writer is where all goes; standard output where it is nil.
	Writer io.Writer

	lines int
	// Whose lines these are too, where they only say what is still to be done.
	outer *T
}

// New gives an output with nothing written yet.
func New() *T {
	return &T{}
}

func (t *T) printf(format string, values ...interface{}) {
	writer := t.Writer
	if writer == nil {
		writer = os.Stdout
	}
	fmt.Fprintf(writer, format, values...)
}

// Header writes the version and, unless count is 0, the plan.
func (t *T) Header(count int) {
	t.printf("TAP version 13\n")
	if count > 0 {
		t.printf("1..%d\n", count)
	}
}

// AutoPlan writes the plan behind the lines that it counts.
func (t *T) AutoPlan() {
	t.printf("1..%d\n", t.lines)
}

// Ok writes the line of one test.
func (t *T) Ok(passed bool, description string) {
	word := "ok"
	if !passed {
		word = "not ok"
	}
	if t.outer != nil {
		t.outer.lines++
		t.outer.printf("%s %d # TODO %s\n", word, t.outer.lines, description)
		return
	}
	t.lines++
	t.printf("%s %d - %s\n", word, t.lines, description)
}

// Todo gives an output whose lines go to t, marked as what is expected to fail.
func (t *T) Todo() *T {
	return &T{outer: t}
}

// Pass is Ok of what has passed.
func (t *T) Pass(description string) {
	t.Ok(true, description)
}

// Fail is Ok of what has failed.
func (t *T) Fail(description string) {
	t.Ok(false, description)
}

// Skip writes the lines of count tests that are not run.
func (t *T) Skip(count int, reason string) {
	for range make([]struct{}, count) {
		t.lines++
		t.printf("ok %d # SKIP %s\n", t.lines, reason)
	}
}

// Diagnostic writes a remark, each line of it behind a number sign.
func (t *T) Diagnostic(message string) {
	for _, line := range strings.Split(strings.TrimRight(message, "\n"), "\n") {
		t.printf("# %s\n", line)
	}
}

// Diagnosticf is Diagnostic of what a format makes.
func (t *T) Diagnosticf(format string, values ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, values...))
}

// YAML writes a value as the block of the line before it, in JSON, which is YAML too.
func (t *T) YAML(value interface{}) error {
	text, err := json.MarshalIndent(value, "  ", "  ")
	if err != nil {
		return err
	}
	t.printf("  ---\n  %s\n  ...\n", text)
	return nil
}
