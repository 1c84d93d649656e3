package check

// What a check can ask of the world, and the answers.

import (
	"net/netip"
	"time"
)

// TCPRequest says what to do with a connection.
type TCPRequest struct {
	// Address is `host:port`, IPv6 in brackets.
	Address string
	// Send is sent after connecting.
	Send []byte
	// Until ends reading once it was seen; nil: read until MaxBytes came or the time is up.
	Until []byte
	// MaxBytes is the most to read.
	MaxBytes uint32
	// Timeout; 0: what is left of the run.
	Timeout time.Duration
}

// TCPReply is what a connection gave.
type TCPReply struct {
	// Connect is how long connecting took.
	Connect time.Duration
	Data    []byte
}

// Header is one line of an HTTP message's head.
type Header struct{ Name, Value string }

// HTTPRequest is one HTTP request. The zero value of all but URL makes sense.
type HTTPRequest struct {
	// Method; empty: GET.
	Method string
	// URL with `http://` or `https://`.
	URL string
	// Headers to send; a `host` header replaces the one from the URL.
	Headers []Header
	Body    []byte
	// Timeout is for everything; 0: what is left of the run.
	Timeout time.Duration
	// MaxBodyBytes is where the body is cut, at most 1 MiB; 0 reads none of it.
	MaxBodyBytes uint32
	// InsecureTLS takes an invalid or foreign certificate.
	InsecureTLS bool
	// ServerName for TLS, where it is not the URL's.
	ServerName string
	// FollowRedirects is how many to follow; each address must be granted.
	FollowRedirects uint8
	// ReuseConnection keeps the connection for the next run.
	ReuseConnection bool
}

// HTTPResponse is the answer to an [HTTPRequest].
type HTTPResponse struct {
	Status  uint16
	Headers []Header
	Body    []byte
	// Total is the time until the last byte of the body.
	Total time.Duration
}

// ProcessQuery says which processes to find. All that is given must hold; give at least one of Name, Cmdline, PIDFile.
type ProcessQuery struct {
	// Name is the exact name, as `ps -e` shows it.
	Name string
	// Cmdline is a regular expression found somewhere in the command line.
	Cmdline string
	// PIDFile is a file whose first word is the process id.
	PIDFile string
	// User is the effective owner: a name or a number.
	User string
}

// Process is a running process of the host.
type Process struct {
	PID  uint32
	Name string
	Age  time.Duration
}

// FileKind is what there is at a path.
type FileKind uint8

// The kinds of the contract, in its order.
const (
	RegularFile FileKind = iota
	Directory
	OtherFile
)

// FileInfo is what Stat finds.
type FileInfo struct {
	Kind FileKind
	// Size in bytes.
	Size uint64
	// Age since the last modification; 0 if that lies in the future.
	Age time.Duration
}

// Space is how full a file system is.
type Space struct {
	// Total and Available in bytes; Available is what programs without privileges can still write.
	Total, Available uint64
	// Inodes is how many files it can hold; 0 where there is no such bound.
	Inodes, InodesAvailable uint64
}

// Link is a network link of the host.
type Link struct {
	Name string
	// Up: set up by the administrator.
	Up bool
	// Carrier: the cable is plugged in and the other side is there.
	Carrier bool
}

// Address is an address of the host: of which link, and with which prefix length.
type Address struct {
	Link   string
	Prefix netip.Prefix
}

// Connection is a conversation. It carries at most 1 MiB each way; a check may have `limits.connections` of them open. All
// are closed at the end of the run.
type Connection interface {
	// Send returns when all of it is on its way, in what is left of the run.
	Send(data []byte) error
	// Receive answers with what came until maxBytes were there, the peer closed (then it may be short or empty) or the
	// timeout (0: what is left of the run) was over; if nothing came by then that is a Timeout.
	Receive(maxBytes uint32, timeout time.Duration) ([]byte, error)
	// ReceiveUntil answers with what came up to and with `until`; what follows is for the next call. Less where maxBytes came
	// before or the peer closed.
	ReceiveUntil(until []byte, maxBytes uint32, timeout time.Duration) ([]byte, error)
	// StartTLS goes on with TLS. With verify a bad certificate is an error, else it is told in [Certificate.Problem].
	StartTLS(serverName string, verify bool, timeout time.Duration) (*Certificate, error)
	// Close ends it.
	Close() error
}

// Certificate is what a server showed in a TLS handshake.
type Certificate struct {
	// Subject and Issuer like `CN=www.example.com, O=Example`.
	Subject, Issuer string
	// Names and addresses that it is for.
	Names []string
	// NotBefore and NotAfter, in whole seconds.
	NotBefore, NotAfter time.Time
	// Problem is why it was not verified; empty: it was.
	Problem string
	// Protocol is `TLSv1.3` or `TLSv1.2`.
	Protocol string
}

// Level of a line in the daemon's log.
type Level uint32

// The levels of the contract.
const (
	Debug Level = iota
	Info
	Warning
	Error
)
