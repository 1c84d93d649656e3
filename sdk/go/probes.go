//go:build wasip1

package check

import (
	"time"
	"unsafe"
)

// Where probes put their results. Not on the stack, which may move while the host calls back for memory.
var (
	tcpResult struct {
		failed uint8
		_      [7]byte
		union  [2]uint64
	}
	httpResult struct {
		failed uint8
		_      [7]byte
		union  [4]uint64
	}
	processResult struct {
		failed uint8
		_      [3]byte
		union  [3]uint32
	}
	memoResult list
)

// variant probe-error
type rawProbeError struct {
	kind uint8
	_    [3]byte
	text list
}

func (e *rawProbeError) take() error {
	err := &ProbeError{Kind: ErrorKind(e.kind)}
	switch err.Kind {
	case Denied, TLS, Invalid, Other:
		err.Text = e.text.text()
	}
	return err
}

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

//go:wasmimport vouchd:check/tcp@0.1.0 probe
func tcpProbe(addr unsafe.Pointer, addrLength uint32, send unsafe.Pointer, sendLength uint32, until uint32,
	untilData unsafe.Pointer, untilLength uint32, maxBytes uint32, timeout uint32, result unsafe.Pointer)

// TCP connects, sends, reads. The error is a [ProbeError].
func (c *Context) TCP(request TCPRequest) (*TCPReply, error) {
	result := &tcpResult
	addr := utf8(request.Address)
	prepare(request.MaxBytes)
	tcpProbe(pointer(addr), length(addr), pointer(request.Send), length(request.Send), flag(request.Until != nil),
		pointer(request.Until), length(request.Until), request.MaxBytes, c.timeout(request.Timeout),
		unsafe.Pointer(result))
	if result.failed != 0 {
		return nil, (*rawProbeError)(unsafe.Pointer(&result.union)).take()
	}
	reply := (*struct {
		connect uint64
		data    list
	})(unsafe.Pointer(&result.union))
	return &TCPReply{time.Duration(reply.connect) * time.Microsecond, reply.data.bytes()}, nil
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
	// MaxBodyBytes is where the body is cut; 0 reads none of it.
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

//go:wasmimport vouchd:check/http@0.1.0 fetch
func httpFetch(method unsafe.Pointer, methodLength uint32, url unsafe.Pointer, urlLength uint32,
	headers unsafe.Pointer, headersLength uint32, body unsafe.Pointer, bodyLength, timeout, maxBodyBytes, tlsVerify,
	sni uint32, sniData unsafe.Pointer, sniLength, followRedirects, reuseConnection uint32, result unsafe.Pointer)

// HTTP makes one request. Any status is a response, not an error. The error is a [ProbeError].
func (c *Context) HTTP(request HTTPRequest) (*HTTPResponse, error) {
	if request.Method == "" {
		request.Method = "GET"
	}
	headers := make([]pair, len(request.Headers))
	for i, header := range request.Headers {
		headers[i] = pair{listOfText(header.Name), listOfText(header.Value)}
	}
	method, url, sni := utf8(request.Method), utf8(request.URL), utf8(request.ServerName)
	prepare(request.MaxBodyBytes)
	result := &httpResult
	httpFetch(pointer(method), length(method), pointer(url), length(url), pointer(headers), length(headers),
		pointer(request.Body), length(request.Body), c.timeout(request.Timeout), request.MaxBodyBytes,
		flag(!request.InsecureTLS), flag(len(sni) != 0), pointer(sni), length(sni), uint32(request.FollowRedirects),
		flag(request.ReuseConnection), unsafe.Pointer(result))
	if result.failed != 0 {
		return nil, (*rawProbeError)(unsafe.Pointer(&result.union)).take()
	}
	reply := (*struct {
		status        uint16
		_             [2]byte
		headers, body list
		_             [4]byte
		total         uint64
	})(unsafe.Pointer(&result.union))
	response := &HTTPResponse{
		Status: reply.status, Body: reply.body.bytes(), Total: time.Duration(reply.total) * time.Microsecond,
	}
	for _, header := range at[pair](reply.headers) {
		response.Headers = append(response.Headers, Header{header.key.text(), header.value.text()})
	}
	return response, nil
}

// ProcessQuery says which processes to find. All that is given must hold.
type ProcessQuery struct{ Name, Cmdline, PIDFile, User string }

// Process is a running process of the host.
type Process struct {
	PID  uint32
	Name string
	Age  time.Duration
}

//go:wasmimport vouchd:check/process@0.1.0 find
func processFind(name uint32, nameData unsafe.Pointer, nameLength, cmdline uint32, cmdlineData unsafe.Pointer,
	cmdlineLength, pidFile uint32, pidFileData unsafe.Pointer, pidFileLength, user uint32, userData unsafe.Pointer,
	userLength uint32, result unsafe.Pointer)

// Processes finds running processes; they are watched from then on. The error is a [ProbeError].
func (c *Context) Processes(query ProcessQuery) ([]Process, error) {
	name, cmdline, pidFile, user := utf8(query.Name), utf8(query.Cmdline), utf8(query.PIDFile), utf8(query.User)
	prepare(0)
	result := &processResult
	processFind(flag(len(name) != 0), pointer(name), length(name), flag(len(cmdline) != 0), pointer(cmdline),
		length(cmdline), flag(len(pidFile) != 0), pointer(pidFile), length(pidFile), flag(len(user) != 0), pointer(user),
		length(user), unsafe.Pointer(result))
	if result.failed != 0 {
		return nil, (*rawProbeError)(unsafe.Pointer(&result.union)).take()
	}
	type info struct {
		pid  uint32
		name list
		_    [4]byte
		age  uint64
	}
	var found []Process
	for _, info := range at[info](*(*list)(unsafe.Pointer(&result.union))) {
		found = append(found, Process{info.pid, info.name.text(), time.Duration(info.age) * time.Millisecond})
	}
	return found, nil
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

//go:wasmimport vouchd:check/log@0.1.0 log
func logLog(level uint32, message unsafe.Pointer, messageLength uint32)

// Log writes a line in the daemon's log.
func (c *Context) Log(level Level, message string) {
	text := utf8(message)
	logLog(uint32(level), pointer(text), length(text))
}

//go:wasmimport vouchd:check/memo@0.1.0 get
func memoGet(result unsafe.Pointer)

//go:wasmimport vouchd:check/memo@0.1.0 set
func memoSet(data unsafe.Pointer, length uint32)

// Recall is what the last run remembered; empty the first time.
func (c *Context) Recall() []byte {
	prepare(0)
	memoGet(unsafe.Pointer(&memoResult))
	return memoResult.bytes()
}

// Remember keeps up to 4096 bytes for the next run, if this one ends without an error.
func (c *Context) Remember(data []byte) {
	memoSet(pointer(data), length(data))
}
