// Package check lets you write checks for vouchd in Go.
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
// A report is about the service. An error means that the check could not be carried out; it never counts as a pass. Each run is a
// fresh instance, so package variables do not survive it; [Context.Remember] keeps up to 4096 bytes for the next run. Package
// checktest has a fake daemon for `go test`.
package check

import (
	"errors"
	"fmt"
	"io/fs"
)

var run func(*Context) (*Report, error)

// Run registers the check of this plugin. Call it from `init`: `main` never runs.
func Run(f func(*Context) (*Report, error)) { run = f }

// Verdict is the verdict about the service, best first.
type Verdict uint8

const (
	// VerdictPass: the service works.
	VerdictPass Verdict = iota
	// VerdictWarn: the service works, but another router would serve better.
	VerdictWarn
	// VerdictFail: the service does not work. What that costs is the operator's choice.
	VerdictFail
	// VerdictFault: this router must not be active, whatever the priorities.
	VerdictFault
)

// Metric is a number measured during the run.
type Metric struct {
	Name  string
	Value float64
	// Unit is `s` (seconds), `B` (bytes), `%`, `c` (a counter), or empty.
	Unit string
}

// Report is the result of a check that could be carried out.
type Report struct {
	Verdict Verdict
	// Message is one line for the operator. The daemon cuts it after 512 bytes.
	Message string
	// Adjust is a change of the priority, applied as far as the operator allows; nil for none.
	Adjust *int16
	// Metrics are at most 64; the daemon drops more.
	Metrics []Metric
}

// Pass reports that the service works.
func Pass(format string, arguments ...any) *Report { return report(VerdictPass, format, arguments) }

// Warn reports that the service works, but another router would serve better.
func Warn(format string, arguments ...any) *Report { return report(VerdictWarn, format, arguments) }

// Fail reports that the service does not work.
func Fail(format string, arguments ...any) *Report { return report(VerdictFail, format, arguments) }

// Fault reports that this router must not be active.
func Fault(format string, arguments ...any) *Report { return report(VerdictFault, format, arguments) }

func report(verdict Verdict, format string, arguments []any) *Report {
	return &Report{Verdict: verdict, Message: fmt.Sprintf(format, arguments...)}
}

// Adjusted requests a change of the priority, which applies as far as the operator allows.
func (r *Report) Adjusted(by int16) *Report {
	r.Adjust = &by
	return r
}

// Metric adds a metric. Unit is `s` (seconds), `B` (bytes), `%`, `c` (a counter), or empty.
func (r *Report) Metric(name string, value float64, unit string) *Report {
	r.Metrics = append(r.Metrics, Metric{name, value, unit})
	return r
}

// ErrorKind is why a probe gave no answer.
type ErrorKind uint8

// The kinds of the contract, in its order.
const (
	// Denied: the check has no grant for it, or a limit was exceeded. The text names the line to add to the configuration, or the
	// limit. The run ends as an error, whatever the plugin reports.
	Denied ErrorKind = iota
	// Timeout: no answer before the deadline.
	Timeout
	// Refused: the peer refused or reset the connection, or does not exist.
	Refused
	// Unresolved: the name did not resolve.
	Unresolved
	// TLS: the handshake failed, or the certificate is not valid.
	TLS
	// Invalid: the probe cannot be made. An argument makes no sense, a file cannot be read, or this host is at fault.
	Invalid
	// Other: any other reason why the peer did not answer.
	Other
)

// ProbeError is the error of a probe that gave no answer.
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

// FailOn makes a `fail` report from the error of a probe: `WHAT: REASON`. The error of a probe that could not be made at all, and
// any other error, stays an error.
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
