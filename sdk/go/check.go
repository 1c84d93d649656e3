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
//	func run(ctx *check.Context) (*check.Report, error) {
//		address, err := ctx.Param("address")
//		if err != nil {
//			return nil, err
//		}
//		if _, err := ctx.TCP(check.TCPRequest{Address: address}); err != nil {
//			return check.FailOn(err, address)
//		}
//		return check.Pass("%s accepts connections", address), nil
//	}
//
// A report says what was found out about the service. An error says that the check itself could not be carried out; it never
// counts as a pass.
package check

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

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

// FailOn makes of a probe's error a `fail` that says that `what` did not answer. An error because the probe could not be
// made at all, and one that is not a probe's, stays an error.
func FailOn(err error, what string) (*Report, error) {
	var probe *ProbeError
	if !errors.As(err, &probe) || probe.Kind == Denied || probe.Kind == Invalid {
		return nil, err
	}
	return Fail("%s: %s", what, probe), nil
}

// Param is one parameter of the check.
type Param struct{ Key, Value string }

// Context is what the daemon tells about this run, and what it offers.
type Context struct {
	// Name of the check in the configuration.
	Name string
	// Params in file order. Tables are flattened, a list is its name repeated.
	Params []Param
	// Budget is how long the run may take.
	Budget time.Duration
}

// Param is a parameter that has to be there once.
func (c *Context) Param(key string) (string, error) {
	values := c.ParamList(key)
	if len(values) == 0 {
		return "", fmt.Errorf("parameter `%s` is missing", key)
	}
	if len(values) > 1 {
		return "", fmt.Errorf("parameter `%s`: found %d values, expected one", key, len(values))
	}
	return values[0], nil
}

// ParamOr is a parameter that may be there once.
func (c *Context) ParamOr(key, missing string) (string, error) {
	if len(c.ParamList(key)) == 0 {
		return missing, nil
	}
	return c.Param(key)
}

// ParamList is all values of a parameter, which is a list in the configuration.
func (c *Context) ParamList(key string) []string {
	var values []string
	for _, param := range c.Params {
		if param.Key == key {
			values = append(values, param.Value)
		}
	}
	return values
}

// AllowParams refuses every other parameter: a misspelt one is an error, not ignored.
func (c *Context) AllowParams(keys ...string) error {
next:
	for _, param := range c.Params {
		for _, key := range keys {
			if param.Key == key {
				continue next
			}
		}
		return fmt.Errorf("unknown parameter `%s`, expected one of: %s", param.Key, strings.Join(keys, ", "))
	}
	return nil
}

// What is left of the run when a probe ends, so that the report can still be made.
const reserve = 10 * time.Millisecond

func (c *Context) timeout(wanted time.Duration) uint32 {
	if wanted == 0 {
		wanted = c.Budget - reserve
	}
	return uint32(max(wanted.Milliseconds(), 1))
}
