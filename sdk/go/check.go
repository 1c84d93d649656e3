// Package check is for writing checks of vouchd in Go.
//
//	package main
//
//	import check "vouchd-check"
//
//	func main() {}
//
//	func init() { check.Run(run) }
//
//	type params struct {
//		Address string
//	}
//
//	func run(ctx *check.Context) (*check.Report, error) {
//		var params params
//		if err := ctx.Decode(&params); err != nil {
//			return nil, err
//		}
//		if _, err := ctx.TCP(check.TCPRequest{Address: params.Address}); err != nil {
//			return check.FailOn(err, params.Address)
//		}
//		return check.Pass("%s accepts connections", params.Address), nil
//	}
//
// A report says what was found out about the service. An error says that the check itself could not be carried out; it never
// counts as a pass. Package checktest has a double of the daemon, for `go test`.
package check

import (
	"errors"
	"fmt"
	"io/fs"
)

var run func(*Context) (*Report, error)

// Run makes a function the check of this plugin. Call it from `init`: `main` is never called.
func Run(f func(*Context) (*Report, error)) { run = f }

// Verdict is what the check says about the thing it watches, best first.
type Verdict uint8

const (
	// VerdictPass: works.
	VerdictPass Verdict = iota
	// VerdictWarn: works, but another router would serve better.
	VerdictWarn
	// VerdictFail: does not work. What that costs is the operator's choice.
	VerdictFail
	// VerdictFault: this router must not be active, whatever it costs.
	VerdictFault
)

// Metric is a number measured during the run.
type Metric struct {
	Name  string
	Value float64
	// Unit is `s`, `B`, `%`, `c` (a counter), or empty.
	Unit string
}

// Report is the outcome of a check that could be carried out.
type Report struct {
	Verdict Verdict
	// Message is one line for the operator.
	Message string
	// Adjust is added to the priority, as far as the operator allows. nil: nothing.
	Adjust  *int16
	Metrics []Metric
}

// Pass reports that the service works.
func Pass(format string, arguments ...any) *Report { return report(VerdictPass, format, arguments) }

// Warn reports that it works, but that another router would serve better.
func Warn(format string, arguments ...any) *Report { return report(VerdictWarn, format, arguments) }

// Fail reports that it does not work.
func Fail(format string, arguments ...any) *Report { return report(VerdictFail, format, arguments) }

// Fault reports that this router must not be active.
func Fault(format string, arguments ...any) *Report { return report(VerdictFault, format, arguments) }

func report(verdict Verdict, format string, arguments []any) *Report {
	return &Report{Verdict: verdict, Message: fmt.Sprintf(format, arguments...)}
}

// Adjusted asks for a change of the priority; it counts as far as the operator allows.
func (r *Report) Adjusted(by int16) *Report {
	r.Adjust = &by
	return r
}

// Metric adds a number. Unit: `s`, `B`, `%`, `c` (a counter), or empty.
func (r *Report) Metric(name string, value float64, unit string) *Report {
	r.Metrics = append(r.Metrics, Metric{name, value, unit})
	return r
}

// ErrorKind is why a probe gave no answer.
type ErrorKind uint8

// The kinds of the contract, in its order.
const (
	// Denied: not granted to this check; nothing was sent. The text names the line to add to the configuration.
	Denied ErrorKind = iota
	// Timeout: no answer before the deadline.
	Timeout
	// Refused: the peer refused or reset.
	Refused
	// Unresolved: the name did not resolve.
	Unresolved
	// TLS handshake or certificate.
	TLS
	// Invalid: the probe can't be made, an argument makes no sense. Nothing was sent.
	Invalid
	// Other is anything else that kept the peer from answering.
	Other
)

// ProbeError is what a probe returns that gave no answer.
type ProbeError struct {
	Kind ErrorKind
	Text string
}

func (e *ProbeError) Error() string {
	switch e.Kind {
	case Timeout:
		return "no answer in time"
	case Refused:
		return "connection refused"
	case Unresolved:
		return "the name does not resolve"
	case TLS:
		return "TLS: " + e.Text
	default:
		return e.Text
	}
}

// FailOn makes of a probe's error a `fail` that says that `what` did not answer, or is not there. An error because the
// probe could not be made at all, and one that is not a probe's, stays an error.
func FailOn(err error, what string) (*Report, error) {
	var probe *ProbeError
	if errors.Is(err, fs.ErrNotExist) {
		return Fail("%s: there is no such file", what), nil
	}
	if !errors.As(err, &probe) || probe.Kind == Denied || probe.Kind == Invalid {
		return nil, err
	}
	return Fail("%s: %s", what, probe), nil
}
