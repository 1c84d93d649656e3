package check

// The probes: requests, answers, and connections.

import (
	"net/netip"
	"time"
)

// TCPRequest is one exchange over TCP: connect, send, receive.
type TCPRequest struct {
	// Address is `host:port`, IPv6 in brackets.
	Address string
	// Send is sent after connecting.
	Send []byte
	// Until ends receiving when it arrives. With nil, receiving ends when MaxBytes arrived, the peer closed, or the time is up.
	Until []byte
	// MaxBytes is the most to receive; 0 without Until receives nothing.
	MaxBytes uint32
	// Timeout for connecting and receiving together; 0 is what the run has left.
	Timeout time.Duration
}

// TCPReply is the answer to a [TCPRequest].
type TCPReply struct {
	// Connect is the time that connecting took.
	Connect time.Duration
	// Data is what arrived, up to and including Until.
	Data []byte
}

// Header is one header of an HTTP message.
type Header struct{ Name, Value string }

// HTTPRequest is one HTTP request. Only URL is required.
type HTTPRequest struct {
	// Method; empty means GET.
	Method string
	// URL starts with `http://` or `https://`.
	URL string
	// Headers to send; a `host` header replaces the one from the URL.
	Headers []Header
	Body    []byte
	// Timeout is for everything, redirects and body included; 0 is what the run has left.
	Timeout time.Duration
	// MaxBodyBytes is the most to read of the body; 0 reads none of it. If it is more than `limits.probe_bytes`, a body longer
	// than that limit is denied, never cut.
	MaxBodyBytes uint32
	// InsecureTLS accepts a certificate that cannot be verified.
	InsecureTLS bool
	// ServerName for TLS, if it is not the host of the URL.
	ServerName string
	// FollowRedirects is how many redirects to follow. Each address needs a grant.
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

// ProcessQuery says which processes to find. All given conditions must hold; give at least one of Name, Cmdline, PIDFile.
type ProcessQuery struct {
	// Name is the exact name, as `ps -e` shows it.
	Name string
	// Cmdline is a regular expression that matches somewhere in the command line.
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

// FileKind is the kind of a file.
type FileKind uint8

// The kinds of the contract, in its order.
const (
	RegularFile FileKind = iota
	Directory
	OtherFile
)

// FileInfo describes what is at a path.
type FileInfo struct {
	Kind FileKind
	// Size in bytes.
	Size uint64
	// Age is the time since the last modification; 0 if that lies in the future.
	Age time.Duration
}

// Space is the size of a file system, and the room left on it.
type Space struct {
	// Total and Available are in bytes. Available is what a program without privileges can still write.
	Total, Available uint64
	// Inodes is the most files it can hold; 0 if it has no such bound.
	Inodes, InodesAvailable uint64
}

// Link is a network link of the host.
type Link struct {
	Name string
	// Up is whether the administrator has set it up.
	Up bool
	// Carrier is whether the cable is plugged in and the other end is up.
	Carrier bool
}

// Address is an address of the host, with its link and prefix length.
type Address struct {
	Link   string
	Prefix netip.Prefix
}

// Connection is a connection to a peer. It carries at most `limits.probe_bytes` each way, and a check may have
// `limits.connections` of them open at once. It closes at the end of the run.
type Connection interface {
	// Send sends all of data, in the time that the run has left.
	Send(data []byte) error
	// Receive receives until maxBytes arrived, the peer closed, or the time is up, and returns what has arrived: less than
	// maxBytes, or nothing, if the peer closed. The error is a Timeout if nothing arrived in time. Timeout 0 is what the run has
	// left.
	Receive(maxBytes uint32, timeout time.Duration) ([]byte, error)
	// ReceiveUntil receives up to and including until. Bytes after it are kept for the next call. It returns less if maxBytes
	// arrived first, or the peer closed.
	ReceiveUntil(until []byte, maxBytes uint32, timeout time.Duration) ([]byte, error)
	// StartTLS continues with TLS. A certificate that cannot be verified is an error with verify; without it,
	// [Certificate.Problem] says why.
	StartTLS(serverName string, verify bool, timeout time.Duration) (*Certificate, error)
	// Close closes the connection.
	Close() error
}

// Certificate is the certificate that a server presented in a TLS handshake.
type Certificate struct {
	// Subject and Issuer are such as `CN=www.example.com, O=Example`.
	Subject, Issuer string
	// Names are the names and addresses that it is for.
	Names []string
	// NotBefore and NotAfter bound its validity, in whole seconds.
	NotBefore, NotAfter time.Time
	// Problem is why it could not be verified; empty if it was.
	Problem string
	// Protocol is `TLSv1.3` or `TLSv1.2`.
	Protocol string
}

// Level is the level of a line in the daemon's log.
type Level uint32

// The levels of the contract.
const (
	Debug Level = iota
	Info
	Warning
	Error
)
