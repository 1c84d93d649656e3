// Package checktest is a fake daemon, to test a check with `go test`.
//
//	host := checktest.Host{OnTCP: func(check.TCPRequest) (*check.TCPReply, error) {
//		return nil, &check.ProbeError{Kind: check.Refused}
//	}}
//	report, err := host.Run(run, "address", "127.0.0.1:25")
package checktest

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	check "vouchd-check"
)

// Host answers probes as the test says. A probe without an answer is denied.
type Host struct {
	OnTCP         func(check.TCPRequest) (*check.TCPReply, error)
	OnHTTP        func(check.HTTPRequest) (*check.HTTPResponse, error)
	OnProcesses   func(check.ProcessQuery) ([]check.Process, error)
	OnStat        func(path string) (*check.FileInfo, error)
	OnReadFile    func(path string) ([]byte, error)
	OnSpace       func(path string) (*check.Space, error)
	OnResolve     func(name string) ([]netip.Addr, error)
	OnLinks       func() ([]check.Link, error)
	OnAddresses   func() ([]check.Address, error)
	OnConnectTCP  func(address string) (check.Connection, error)
	OnConnectUnix func(path string) (check.Connection, error)
	// Clock is what Now returns.
	Clock time.Time
	// Memo is what the check remembers. It survives from run to run.
	Memo []byte
	// Logged are the lines logged so far.
	Logged []Line
}

// Line is a line in the daemon's log.
type Line struct {
	Level   check.Level
	Message string
}

// Run runs the check once with a budget of one second. Params are names and values in turn.
func (h *Host) Run(run func(*check.Context) (*check.Report, error), params ...string) (*check.Report, error) {
	if len(params)%2 != 0 {
		panic(fmt.Sprintf("expected names and values in turn, found %q", params))
	}
	var pairs []check.Param
	for i := 0; i < len(params); i += 2 {
		pairs = append(pairs, check.Param{Key: params[i], Value: params[i+1]})
	}
	before := bytes.Clone(h.Memo)
	report, err := run(check.NewContext((*host)(h), "test", pairs, time.Second))
	if err != nil {
		h.Memo = before
	}
	return report, err
}

// host has the methods that a context calls, so that they do not show up beside those of a test.
type host Host

func denied(what string) error {
	return &check.ProbeError{Kind: check.Denied, Text: "the test has no answer for " + what}
}

func (h *host) TCP(request check.TCPRequest) (*check.TCPReply, error) {
	if h.OnTCP == nil {
		return nil, denied("OnTCP")
	}
	return h.OnTCP(request)
}

func (h *host) HTTP(request check.HTTPRequest) (*check.HTTPResponse, error) {
	if h.OnHTTP == nil {
		return nil, denied("OnHTTP")
	}
	return h.OnHTTP(request)
}

func (h *host) Processes(query check.ProcessQuery) ([]check.Process, error) {
	if h.OnProcesses == nil {
		return nil, denied("OnProcesses")
	}
	return h.OnProcesses(query)
}

func (h *host) Stat(path string) (*check.FileInfo, error) {
	if h.OnStat == nil {
		return nil, denied("OnStat")
	}
	return h.OnStat(path)
}

func (h *host) ReadFile(path string, maxBytes uint32) ([]byte, error) {
	if h.OnReadFile == nil {
		return nil, denied("OnReadFile")
	}
	data, err := h.OnReadFile(path)
	return data[:min(len(data), int(maxBytes))], err
}

func (h *host) Space(path string) (*check.Space, error) {
	if h.OnSpace == nil {
		return nil, denied("OnSpace")
	}
	return h.OnSpace(path)
}

func (h *host) Resolve(name string, _ time.Duration) ([]netip.Addr, error) {
	if h.OnResolve == nil {
		return nil, denied("OnResolve")
	}
	return h.OnResolve(name)
}

func (h *host) Links() ([]check.Link, error) {
	if h.OnLinks == nil {
		return nil, denied("OnLinks")
	}
	return h.OnLinks()
}

func (h *host) Addresses() ([]check.Address, error) {
	if h.OnAddresses == nil {
		return nil, denied("OnAddresses")
	}
	return h.OnAddresses()
}

func (h *host) ConnectTCP(address string, _ time.Duration) (check.Connection, error) {
	if h.OnConnectTCP == nil {
		return nil, denied("OnConnectTCP")
	}
	return h.OnConnectTCP(address)
}

func (h *host) ConnectUnix(path string, _ time.Duration) (check.Connection, error) {
	if h.OnConnectUnix == nil {
		return nil, denied("OnConnectUnix")
	}
	return h.OnConnectUnix(path)
}

func (h *host) Now() time.Time { return h.Clock }

func (h *host) Log(level check.Level, message string) {
	h.Logged = append(h.Logged, Line{level, message})
}

func (h *host) Recall() []byte { return bytes.Clone(h.Memo) }

func (h *host) Remember(data []byte) { h.Memo = bytes.Clone(data) }

// Script is a scripted peer of a connection. It sends its greeting, expects the messages of the check in order, and answers each;
// anything else is refused. After its last answer it closes.
type Script struct {
	// Greeting is sent at once, without waiting for the check.
	Greeting string
	// Turns follow each other.
	Turns []Turn
	// Certificate is presented in the TLS handshake, which otherwise fails.
	Certificate *check.Certificate

	pending []byte
	begun   bool
}

// Turn is what the check must send next, and the answer to it.
type Turn struct{ Sent, Answer string }

func (s *Script) said() []byte {
	if !s.begun {
		s.begun, s.pending = true, []byte(s.Greeting)
	}
	return s.pending
}

// Send implements [check.Connection].
func (s *Script) Send(data []byte) error {
	if len(s.Turns) == 0 || s.Turns[0].Sent != string(data) {
		return &check.ProbeError{Kind: check.Refused}
	}
	s.pending = append(s.said(), s.Turns[0].Answer...)
	s.Turns = s.Turns[1:]
	return nil
}

// Receive implements [check.Connection].
func (s *Script) Receive(maxBytes uint32, _ time.Duration) ([]byte, error) {
	return s.take(len(s.said()), maxBytes), nil
}

// ReceiveUntil implements [check.Connection].
func (s *Script) ReceiveUntil(until []byte, maxBytes uint32, _ time.Duration) ([]byte, error) {
	if at := bytes.Index(s.said(), until); at >= 0 {
		return s.take(at+len(until), maxBytes), nil
	}
	return s.take(len(s.pending), maxBytes), nil
}

func (s *Script) take(wanted int, maxBytes uint32) []byte {
	wanted = min(wanted, int(maxBytes))
	data := s.pending[:wanted]
	s.pending = s.pending[wanted:]
	return data
}

// StartTLS implements [check.Connection].
func (s *Script) StartTLS(_ string, verify bool, _ time.Duration) (*check.Certificate, error) {
	if s.Certificate == nil {
		return nil, &check.ProbeError{Kind: check.TLS, Text: "the script presents no certificate"}
	}
	if verify && s.Certificate.Problem != "" {
		return nil, &check.ProbeError{Kind: check.TLS, Text: s.Certificate.Problem}
	}
	return s.Certificate, nil
}

// Close implements [check.Connection].
func (s *Script) Close() error { return nil }
