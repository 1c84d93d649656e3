package check

import (
	"net/netip"
	"time"
)

// Context is what the daemon tells about this run, and what it offers: probes as far as they are granted, the log, and a
// memory. The errors of probes are [ProbeError].
type Context struct {
	// Name of the check in the configuration.
	Name string
	// Params in file order. Tables are flattened (`headers.accept`), a list is its name repeated. See [Context.Decode].
	Params []Param
	// Budget is how long the run may take.
	Budget time.Duration

	host Host
}

// Host is what answers: the daemon, or the double of package checktest. Checks call the methods of [Context].
type Host interface {
	TCP(TCPRequest) (*TCPReply, error)
	HTTP(HTTPRequest) (*HTTPResponse, error)
	Processes(ProcessQuery) ([]Process, error)
	Stat(path string) (*FileInfo, error)
	ReadFile(path string, maxBytes uint32) ([]byte, error)
	Space(path string) (*Space, error)
	Resolve(name string, timeout time.Duration) ([]netip.Addr, error)
	Links() ([]Link, error)
	Addresses() ([]Address, error)
	ConnectTCP(address string, timeout time.Duration) (Connection, error)
	ConnectUnix(path string, timeout time.Duration) (Connection, error)
	Now() time.Time
	Log(level Level, message string)
	Recall() []byte
	Remember(data []byte)
}

// NewContext is for tests; see package checktest.
func NewContext(host Host, name string, params []Param, budget time.Duration) *Context {
	return &Context{Name: name, Params: params, Budget: budget, host: host}
}

// TCP connects, sends, reads.
func (c *Context) TCP(request TCPRequest) (*TCPReply, error) { return c.host.TCP(request) }

// HTTP makes one request. Any status is a response, not an error.
func (c *Context) HTTP(request HTTPRequest) (*HTTPResponse, error) { return c.host.HTTP(request) }

// Processes finds running processes; they are watched from then on: when one ends, the check runs again at once.
func (c *Context) Processes(query ProcessQuery) ([]Process, error) { return c.host.Processes(query) }

// Stat says what there is at an absolute path; the error is [io/fs.ErrNotExist] if there is nothing.
func (c *Context) Stat(path string) (*FileInfo, error) { return c.host.Stat(path) }

// ReadFile reads the first maxBytes of a regular file, at most 1 MiB; the error is [io/fs.ErrNotExist] if there is none.
func (c *Context) ReadFile(path string, maxBytes uint32) ([]byte, error) {
	return c.host.ReadFile(path, maxBytes)
}

// Space says how full the file system is that holds path.
func (c *Context) Space(path string) (*Space, error) { return c.host.Space(path) }

// Resolve looks a name up with the host's resolver: each address once, at least one. Timeout 0: what is left of the run.
func (c *Context) Resolve(name string, timeout time.Duration) ([]netip.Addr, error) {
	return c.host.Resolve(name, timeout)
}

// Links are the host's network links. Needs no grant.
func (c *Context) Links() ([]Link, error) { return c.host.Links() }

// Addresses are the host's addresses. Needs no grant.
func (c *Context) Addresses() ([]Address, error) { return c.host.Addresses() }

// ConnectTCP begins a conversation with `host:port`, IPv6 in brackets. Timeout 0: what is left of the run.
func (c *Context) ConnectTCP(address string, timeout time.Duration) (Connection, error) {
	return c.host.ConnectTCP(address, timeout)
}

// ConnectUnix begins a conversation with a socket in the file system. Timeout 0: what is left of the run.
func (c *Context) ConnectUnix(path string, timeout time.Duration) (Connection, error) {
	return c.host.ConnectUnix(path, timeout)
}

// Now is the host's clock, in whole milliseconds.
func (c *Context) Now() time.Time { return c.host.Now() }

// Log writes a line in the daemon's log. Lines beyond 1024 bytes are cut, lines beyond `limits.log_lines` dropped.
func (c *Context) Log(level Level, message string) { c.host.Log(level, message) }

// Recall is what the last run remembered; empty the first time.
func (c *Context) Recall() []byte { return c.host.Recall() }

// Remember keeps up to 4096 bytes for the next run, if this one ends without an error. More makes the run an error.
func (c *Context) Remember(data []byte) { c.host.Remember(data) }
