package check

// The probes of the contract, lowered to core WebAssembly.

import (
	"fmt"
	"io/fs"
	"net/netip"
	"time"
	"unsafe"
)

// daemon answers probes by calling the imports.
type daemon struct{}

// Probes put their results here: one `result<…>` at a time, whose value or error starts at byte 4 or 8. It is not on the stack,
// which may move while the host asks for memory.
var answer [10]uint64

func answerPointer() unsafe.Pointer { return unsafe.Pointer(&answer) }

func failed() bool { return *(*uint8)(answerPointer()) != 0 }

func value4[T any]() *T { return (*T)(unsafe.Add(answerPointer(), 4)) }

func value8[T any]() *T { return (*T)(unsafe.Add(answerPointer(), 8)) }

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

//go:wasmimport vouchd:check/tcp@0.1.0 probe
func tcpProbe(addr unsafe.Pointer, addrLength uint32, send unsafe.Pointer, sendLength uint32, until uint32,
	untilData unsafe.Pointer, untilLength uint32, maxBytes uint32, timeout uint32, result unsafe.Pointer)

func (daemon) TCP(request TCPRequest) (*TCPReply, error) {
	addr := utf8(request.Address)
	prepare(request.MaxBytes)
	tcpProbe(pointer(addr), length(addr), pointer(request.Send), length(request.Send), flag(request.Until != nil),
		pointer(request.Until), length(request.Until), request.MaxBytes, milliseconds(request.Timeout), answerPointer())
	if failed() {
		return nil, value8[rawProbeError]().take()
	}
	reply := value8[struct {
		connect uint64
		data    list
	}]()
	return &TCPReply{time.Duration(reply.connect) * time.Microsecond, reply.data.bytes()}, nil
}

//go:wasmimport vouchd:check/http@0.1.0 fetch
func httpFetch(method unsafe.Pointer, methodLength uint32, url unsafe.Pointer, urlLength uint32,
	headers unsafe.Pointer, headersLength uint32, body unsafe.Pointer, bodyLength, timeout, maxBodyBytes, tlsVerify,
	sni uint32, sniData unsafe.Pointer, sniLength, followRedirects, reuseConnection uint32, result unsafe.Pointer)

func (daemon) HTTP(request HTTPRequest) (*HTTPResponse, error) {
	if request.Method == "" {
		request.Method = "GET"
	}
	headers := make([]pair, len(request.Headers))
	for i, header := range request.Headers {
		headers[i] = pair{listOfText(header.Name), listOfText(header.Value)}
	}
	method, url, sni := utf8(request.Method), utf8(request.URL), utf8(request.ServerName)
	prepare(request.MaxBodyBytes)
	httpFetch(pointer(method), length(method), pointer(url), length(url), pointer(headers), length(headers),
		pointer(request.Body), length(request.Body), milliseconds(request.Timeout), request.MaxBodyBytes,
		flag(!request.InsecureTLS), flag(len(sni) != 0), pointer(sni), length(sni), uint32(request.FollowRedirects),
		flag(request.ReuseConnection), answerPointer())
	if failed() {
		return nil, value8[rawProbeError]().take()
	}
	reply := value8[struct {
		status        uint16
		_             [2]byte
		headers, body list
		_             [4]byte
		total         uint64
	}]()
	response := &HTTPResponse{
		Status: reply.status, Body: reply.body.bytes(), Total: time.Duration(reply.total) * time.Microsecond,
	}
	for _, header := range at[pair](reply.headers) {
		response.Headers = append(response.Headers, Header{header.key.text(), header.value.text()})
	}
	return response, nil
}

//go:wasmimport vouchd:check/process@0.1.0 find
func processFind(name uint32, nameData unsafe.Pointer, nameLength, cmdline uint32, cmdlineData unsafe.Pointer,
	cmdlineLength, pidFile uint32, pidFileData unsafe.Pointer, pidFileLength, user uint32, userData unsafe.Pointer,
	userLength uint32, result unsafe.Pointer)

func (daemon) Processes(query ProcessQuery) ([]Process, error) {
	name, cmdline, pidFile, user := utf8(query.Name), utf8(query.Cmdline), utf8(query.PIDFile), utf8(query.User)
	prepare(0)
	processFind(flag(len(name) != 0), pointer(name), length(name), flag(len(cmdline) != 0), pointer(cmdline),
		length(cmdline), flag(len(pidFile) != 0), pointer(pidFile), length(pidFile), flag(len(user) != 0), pointer(user),
		length(user), answerPointer())
	if failed() {
		return nil, value4[rawProbeError]().take()
	}
	type info struct {
		pid  uint32
		name list
		_    [4]byte
		age  uint64
	}
	var found []Process
	for _, info := range at[info](*value4[list]()) {
		found = append(found, Process{info.pid, info.name.text(), time.Duration(info.age) * time.Millisecond})
	}
	return found, nil
}

//go:wasmimport vouchd:check/files@0.1.0 stat
func filesStat(path unsafe.Pointer, pathLength uint32, result unsafe.Pointer)

func (daemon) Stat(path string) (*FileInfo, error) {
	text := utf8(path)
	prepare(0)
	filesStat(pointer(text), length(text), answerPointer())
	if failed() {
		return nil, value8[rawProbeError]().take()
	}
	found := value8[struct {
		some uint8
		_    [7]byte
		kind FileKind
		_    [7]byte
		size uint64
		age  uint64
	}]()
	if found.some == 0 {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
	}
	return &FileInfo{found.kind, found.size, time.Duration(found.age) * time.Millisecond}, nil
}

//go:wasmimport vouchd:check/files@0.1.0 read
func filesRead(path unsafe.Pointer, pathLength uint32, maxBytes uint32, result unsafe.Pointer)

func (daemon) ReadFile(path string, maxBytes uint32) ([]byte, error) {
	text := utf8(path)
	prepare(maxBytes)
	filesRead(pointer(text), length(text), maxBytes, answerPointer())
	if failed() {
		return nil, value4[rawProbeError]().take()
	}
	found := value4[struct {
		some uint8
		_    [3]byte
		data list
	}]()
	if found.some == 0 {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	return found.data.bytes(), nil
}

//go:wasmimport vouchd:check/files@0.1.0 space
func filesSpace(path unsafe.Pointer, pathLength uint32, result unsafe.Pointer)

func (daemon) Space(path string) (*Space, error) {
	text := utf8(path)
	prepare(0)
	filesSpace(pointer(text), length(text), answerPointer())
	if failed() {
		return nil, value8[rawProbeError]().take()
	}
	space := *value8[Space]()
	return &space, nil
}

//go:wasmimport vouchd:check/dns@0.1.0 resolve
func dnsResolve(name unsafe.Pointer, nameLength uint32, timeout uint32, result unsafe.Pointer)

func (daemon) Resolve(name string, timeout time.Duration) ([]netip.Addr, error) {
	text := utf8(name)
	prepare(0)
	dnsResolve(pointer(text), length(text), milliseconds(timeout), answerPointer())
	if failed() {
		return nil, value4[rawProbeError]().take()
	}
	var found []netip.Addr
	for _, address := range at[list](*value4[list]()) {
		ip, err := netip.ParseAddr(address.text())
		if err != nil {
			return nil, &ProbeError{Other, fmt.Sprintf("the daemon sent an invalid address: %v", err)}
		}
		found = append(found, ip)
	}
	return found, nil
}

//go:wasmimport vouchd:check/network@0.1.0 links
func networkLinks(result unsafe.Pointer)

func (daemon) Links() ([]Link, error) {
	prepare(0)
	networkLinks(answerPointer())
	if failed() {
		return nil, value4[rawProbeError]().take()
	}
	type link struct {
		name        list
		up, carrier bool
		_           [2]byte
	}
	var found []Link
	for _, link := range at[link](*value4[list]()) {
		found = append(found, Link{link.name.text(), link.up, link.carrier})
	}
	return found, nil
}

//go:wasmimport vouchd:check/network@0.1.0 addresses
func networkAddresses(result unsafe.Pointer)

func (daemon) Addresses() ([]Address, error) {
	prepare(0)
	networkAddresses(answerPointer())
	if failed() {
		return nil, value4[rawProbeError]().take()
	}
	type address struct {
		link, ip list
		prefix   uint8
		_        [3]byte
	}
	var found []Address
	for _, address := range at[address](*value4[list]()) {
		ip, err := netip.ParseAddr(address.ip.text())
		if err != nil {
			return nil, &ProbeError{Other, fmt.Sprintf("the daemon sent an invalid address: %v", err)}
		}
		found = append(found, Address{address.link.text(), netip.PrefixFrom(ip, int(address.prefix))})
	}
	return found, nil
}

// connection holds a handle of the daemon; 0, which is never a handle, after Close.
type connection struct{ handle uint32 }

//go:wasmimport vouchd:check/stream@0.1.0 connect-tcp
func streamConnectTCP(addr unsafe.Pointer, addrLength uint32, timeout uint32, result unsafe.Pointer)

//go:wasmimport vouchd:check/stream@0.1.0 connect-unix
func streamConnectUnix(path unsafe.Pointer, pathLength uint32, timeout uint32, result unsafe.Pointer)

//go:wasmimport vouchd:check/stream@0.1.0 [method]connection.send
func connectionSend(self uint32, data unsafe.Pointer, dataLength uint32, result unsafe.Pointer)

//go:wasmimport vouchd:check/stream@0.1.0 [method]connection.receive
func connectionReceive(self, until uint32, untilData unsafe.Pointer, untilLength, maxBytes, timeout uint32,
	result unsafe.Pointer)

//go:wasmimport vouchd:check/stream@0.1.0 [method]connection.start-tls
func connectionStartTLS(self uint32, serverName unsafe.Pointer, serverNameLength, verify, timeout uint32,
	result unsafe.Pointer)

//go:wasmimport vouchd:check/stream@0.1.0 [resource-drop]connection
func connectionDrop(self uint32)

func (daemon) ConnectTCP(address string, timeout time.Duration) (Connection, error) {
	text := utf8(address)
	prepare(0)
	streamConnectTCP(pointer(text), length(text), milliseconds(timeout), answerPointer())
	return connected()
}

func (daemon) ConnectUnix(path string, timeout time.Duration) (Connection, error) {
	text := utf8(path)
	prepare(0)
	streamConnectUnix(pointer(text), length(text), milliseconds(timeout), answerPointer())
	return connected()
}

func connected() (Connection, error) {
	if failed() {
		return nil, value4[rawProbeError]().take()
	}
	return &connection{*value4[uint32]()}, nil
}

func (c *connection) open() error {
	if c.handle == 0 {
		return &ProbeError{Invalid, "the connection was closed by this check"}
	}
	return nil
}

func (c *connection) Send(data []byte) error {
	if err := c.open(); err != nil {
		return err
	}
	prepare(0)
	connectionSend(c.handle, pointer(data), length(data), answerPointer())
	if failed() {
		return value4[rawProbeError]().take()
	}
	return nil
}

func (c *connection) Receive(maxBytes uint32, timeout time.Duration) ([]byte, error) {
	return c.receive(nil, maxBytes, timeout)
}

func (c *connection) ReceiveUntil(until []byte, maxBytes uint32, timeout time.Duration) ([]byte, error) {
	return c.receive(until, maxBytes, timeout)
}

func (c *connection) receive(until []byte, maxBytes uint32, timeout time.Duration) ([]byte, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	prepare(maxBytes)
	connectionReceive(c.handle, flag(until != nil), pointer(until), length(until), maxBytes, milliseconds(timeout),
		answerPointer())
	if failed() {
		return nil, value4[rawProbeError]().take()
	}
	return value4[list]().bytes(), nil
}

func (c *connection) StartTLS(serverName string, verify bool, timeout time.Duration) (*Certificate, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	text := utf8(serverName)
	prepare(0)
	connectionStartTLS(c.handle, pointer(text), length(text), flag(verify), milliseconds(timeout), answerPointer())
	if failed() {
		return nil, value8[rawProbeError]().take()
	}
	shown := value8[struct {
		subject, issuer, names list
		notBefore, notAfter    int64
		hasProblem             uint8
		_                      [3]byte
		problem, protocol      list
	}]()
	certificate := &Certificate{
		Subject: shown.subject.text(), Issuer: shown.issuer.text(), Protocol: shown.protocol.text(),
		NotBefore: time.Unix(shown.notBefore, 0), NotAfter: time.Unix(shown.notAfter, 0),
	}
	for _, name := range at[list](shown.names) {
		certificate.Names = append(certificate.Names, name.text())
	}
	if shown.hasProblem != 0 {
		certificate.Problem = shown.problem.text()
	}
	return certificate, nil
}

func (c *connection) Close() error {
	if err := c.open(); err != nil {
		return err
	}
	connectionDrop(c.handle)
	c.handle = 0
	return nil
}

//go:wasmimport vouchd:check/clock@0.1.0 now
func clockNow() uint64

func (daemon) Now() time.Time { return time.UnixMilli(int64(clockNow())) }

//go:wasmimport vouchd:check/log@0.1.0 log
func logLog(level uint32, message unsafe.Pointer, messageLength uint32)

func (daemon) Log(level Level, message string) {
	text := utf8(message)
	logLog(uint32(level), pointer(text), length(text))
}

//go:wasmimport vouchd:check/memo@0.1.0 get
func memoGet(result unsafe.Pointer)

//go:wasmimport vouchd:check/memo@0.1.0 set
func memoSet(data unsafe.Pointer, length uint32)

func (daemon) Recall() []byte {
	prepare(4096)
	memoGet(answerPointer())
	return (*list)(answerPointer()).bytes()
}

func (daemon) Remember(data []byte) { memoSet(pointer(data), length(data)) }
