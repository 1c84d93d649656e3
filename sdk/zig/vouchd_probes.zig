//! The probes. A `timeout_ms` of 0 is the time that the run has left.

const std = @import("std");
const vouchd = @import("vouchd_check.zig");
const Error = vouchd.Error;
const List = vouchd.List;
const Report = vouchd.Report;
const Text = vouchd.Text;

/// Why a probe gave no answer.
pub const ProbeError = struct {
    pub const Problem = enum(u8) { denied, timeout, refused, unresolved, tls, invalid, other };
    problem: Problem,
    /// Set for denied (the line to add to the configuration, or the limit), tls, invalid and other.
    text: []const u8,

    /// Returns a `fail` report, `WHAT: REASON`; or an error if the probe could not be made at all.
    pub fn orFail(self: ProbeError, what: []const u8) Error!Report {
        return switch (self.problem) {
            .denied, .invalid => vouchd.fail("{s}", .{self.text}),
            .timeout => Report.init(.fail, "{s}: no answer in time", .{what}),
            .refused => Report.init(.fail, "{s}: connection refused", .{what}),
            .unresolved => Report.init(.fail, "{s}: the name does not resolve", .{what}),
            .tls => Report.init(.fail, "{s}: TLS: {s}", .{ what, self.text }),
            .other => Report.init(.fail, "{s}: {s}", .{ what, self.text }),
        };
    }
};

/// The answer to a probe.
pub fn Answer(comptime T: type) type {
    return union(enum) {
        reply: T,
        problem: ProbeError,

        /// Returns the reply. Without one, `try` ends the run with the result of `ProbeError.orFail`.
        pub fn need(self: @This(), what: []const u8) Error!T {
            switch (self) {
                .reply => |reply| return reply,
                .problem => |problem| {
                    vouchd.unanswered = try problem.orFail(what);
                    return error.Unanswered;
                },
            }
        }
    };
}

const RawError = extern struct {
    problem: ProbeError.Problem,
    text: Text,

    fn lift(self: RawError) ProbeError {
        return .{ .problem = self.problem, .text = switch (self.problem) {
            .denied, .tls, .invalid, .other => self.text.slice(),
            .timeout, .refused, .unresolved => "",
        } };
    }
};

/// `result<T, probe-error>`
fn Raw(comptime T: type, comptime size: usize) type {
    const Layout = extern struct {
        is_error: bool,
        of: extern union { reply: T, problem: RawError },

        fn problem(self: *const @This()) ?ProbeError {
            return if (self.is_error) self.of.problem.lift() else null;
        }
    };
    std.debug.assert(@sizeOf(Layout) == size);
    return Layout;
}

/// A pointer inside of the memory, which that of an empty slice need not be.
fn ptr(text: []const u8) [*]const u8 {
    return Text.of(text).ptr;
}

pub const TcpRequest = struct {
    /// `host:port`, IPv6 in brackets.
    address: []const u8,
    /// Sent after connecting.
    send: []const u8 = "",
    /// Receive until this arrives.
    until: ?[]const u8 = null,
    /// The most bytes to receive; 0 without `until` receives nothing.
    max_bytes: u32 = 0,
    timeout_ms: u32 = 0,
};

pub const TcpReply = struct {
    /// Microseconds that connecting took.
    connect_us: u64,
    data: []const u8,
};

const tcp_raw = struct {
    extern "vouchd:check/tcp@0.1.0" fn probe([*]const u8, usize, [*]const u8, usize, bool, [*]const u8, usize, u32, u32, *anyopaque) void;
};

/// Connects, sends, and receives.
pub fn tcp(request: TcpRequest) Answer(TcpReply) {
    var raw: Raw(extern struct { connect_us: u64, data: Text }, 24) = undefined;
    const until = request.until orelse "";
    tcp_raw.probe(
        ptr(request.address),
        request.address.len,
        ptr(request.send),
        request.send.len,
        request.until != null,
        ptr(until),
        until.len,
        request.max_bytes,
        request.timeout_ms,
        &raw,
    );
    if (raw.problem()) |problem| return .{ .problem = problem };
    return .{ .reply = .{ .connect_us = raw.of.reply.connect_us, .data = raw.of.reply.data.slice() } };
}

pub const Header = extern struct {
    name: Text,
    value: Text,

    pub fn init(name: []const u8, value: []const u8) Header {
        return .{ .name = .of(name), .value = .of(value) };
    }
};

pub const HttpRequest = struct {
    /// `http://` or `https://`.
    url: []const u8,
    method: []const u8 = "GET",
    /// A `host` header replaces the one from the URL.
    headers: []const Header = &.{},
    body: []const u8 = "",
    /// For everything, redirects and body included.
    timeout_ms: u32 = 0,
    /// The most bytes of the body to read; 0 reads none of it. If it is more than `limits.probe_bytes`, a body longer than that
    /// limit is denied, never cut.
    max_body_bytes: u32 = 0,
    /// Whether a certificate that cannot be verified is an error.
    tls_verify: bool = true,
    /// The server name for TLS, if it is not the host of the URL.
    sni: ?[]const u8 = null,
    /// How many redirects to follow. Each address needs a grant.
    follow_redirects: u8 = 0,
    /// Whether to keep the connection for the next run.
    reuse_connection: bool = false,
};

pub const HttpResponse = struct {
    status: u16,
    headers: []const Header,
    body: []const u8,
    /// Microseconds until the last byte of the body.
    total_us: u64,

    /// Returns the first header with that name, which must be in lower case.
    pub fn header(self: HttpResponse, name: []const u8) ?[]const u8 {
        for (self.headers) |found| {
            if (std.mem.eql(u8, found.name.slice(), name)) return found.value.slice();
        }
        return null;
    }
};

const http_raw = struct {
    extern "vouchd:check/http@0.1.0" fn fetch([*]const u8, usize, [*]const u8, usize, [*]const Header, usize, [*]const u8, usize, u32, u32, bool, bool, [*]const u8, usize, u32, bool, *anyopaque) void;
};

/// Makes one HTTP/1.1 request. Any status is a response, not an error.
pub fn http(request: HttpRequest) Answer(HttpResponse) {
    var raw: Raw(extern struct { status: u16, headers: List(Header), body: Text, total_us: u64 }, 40) = undefined;
    const sni = request.sni orelse "";
    http_raw.fetch(
        ptr(request.method),
        request.method.len,
        ptr(request.url),
        request.url.len,
        List(Header).of(request.headers).ptr,
        request.headers.len,
        ptr(request.body),
        request.body.len,
        request.timeout_ms,
        request.max_body_bytes,
        request.tls_verify,
        request.sni != null,
        ptr(sni),
        sni.len,
        request.follow_redirects,
        request.reuse_connection,
        &raw,
    );
    if (raw.problem()) |problem| return .{ .problem = problem };
    const reply = raw.of.reply;
    return .{ .reply = .{
        .status = reply.status,
        .headers = reply.headers.slice(),
        .body = reply.body.slice(),
        .total_us = reply.total_us,
    } };
}

/// Which processes to find. All given conditions must hold; give at least one of `name`, `cmdline`, `pid_file`.
pub const ProcessQuery = struct {
    /// The exact name, as `ps -e` shows it.
    name: ?[]const u8 = null,
    /// A regular expression that matches somewhere in the command line.
    cmdline: ?[]const u8 = null,
    /// A file whose first word is the process id.
    pid_file: ?[]const u8 = null,
    /// The effective owner: a name or a number.
    user: ?[]const u8 = null,
};

pub const Process = extern struct {
    pid: u32,
    /// `name.slice()`
    name: Text,
    /// Milliseconds since the process started.
    age_ms: u64,
};

const process_raw = struct {
    extern "vouchd:check/process@0.1.0" fn find(bool, [*]const u8, usize, bool, [*]const u8, usize, bool, [*]const u8, usize, bool, [*]const u8, usize, *anyopaque) void;
};

/// Finds running processes. The daemon watches them: when one ends, the check runs again at once.
pub fn findProcesses(query: ProcessQuery) Answer([]const Process) {
    var raw: Raw(List(Process), 16) = undefined;
    const name, const cmdline = .{ query.name orelse "", query.cmdline orelse "" };
    const pid_file, const user = .{ query.pid_file orelse "", query.user orelse "" };
    process_raw.find(
        query.name != null,
        ptr(name),
        name.len,
        query.cmdline != null,
        ptr(cmdline),
        cmdline.len,
        query.pid_file != null,
        ptr(pid_file),
        pid_file.len,
        query.user != null,
        ptr(user),
        user.len,
        &raw,
    );
    if (raw.problem()) |problem| return .{ .problem = problem };
    return .{ .reply = raw.of.reply.slice() };
}

const files_raw = struct {
    extern "vouchd:check/files@0.1.0" fn stat([*]const u8, usize, *anyopaque) void;
    extern "vouchd:check/files@0.1.0" fn read([*]const u8, usize, u32, *anyopaque) void;
    extern "vouchd:check/files@0.1.0" fn space([*]const u8, usize, *anyopaque) void;
};

pub const FileInfo = extern struct {
    kind: enum(u8) { file, directory, other },
    /// In bytes.
    size: u64,
    /// Milliseconds since the last modification; 0 if that lies in the future.
    age_ms: u64,
};

/// Looks at an absolute path; null if nothing is there.
pub fn stat(path: []const u8) Answer(?FileInfo) {
    var raw: Raw(extern struct { exists: bool, info: FileInfo }, 40) = undefined;
    files_raw.stat(ptr(path), path.len, &raw);
    if (raw.problem()) |problem| return .{ .problem = problem };
    return .{ .reply = if (raw.of.reply.exists) raw.of.reply.info else null };
}

/// Reads the first `max_bytes` of a regular file; null if there is no such file. If `max_bytes` is more than
/// `limits.probe_bytes`, a file longer than that limit is denied, never cut.
pub fn read(path: []const u8, max_bytes: u32) Answer(?[]const u8) {
    var raw: Raw(extern struct { exists: bool, data: Text }, 16) = undefined;
    files_raw.read(ptr(path), path.len, max_bytes, &raw);
    if (raw.problem()) |problem| return .{ .problem = problem };
    return .{ .reply = if (raw.of.reply.exists) raw.of.reply.data.slice() else null };
}

/// The size of a file system and the room left on it, in bytes and in files.
pub const Space = extern struct {
    total: u64,
    /// What a program without privileges can still write.
    available: u64,
    inodes: u64,
    inodes_available: u64,
};

/// Measures the file system that holds `path`.
pub fn space(path: []const u8) Answer(Space) {
    var raw: Raw(Space, 40) = undefined;
    files_raw.space(ptr(path), path.len, &raw);
    if (raw.problem()) |problem| return .{ .problem = problem };
    return .{ .reply = raw.of.reply };
}

const dns_raw = struct {
    extern "vouchd:check/dns@0.1.0" fn resolve([*]const u8, usize, u32, *anyopaque) void;
};

/// Looks up a name with the host's resolver, or `NAME@SERVER` at one name server. Returns at least one address, each once; take
/// `slice()` of each.
pub fn resolve(name: []const u8, timeout_ms: u32) Answer([]const Text) {
    var raw: Raw(List(Text), 16) = undefined;
    dns_raw.resolve(ptr(name), name.len, timeout_ms, &raw);
    if (raw.problem()) |problem| return .{ .problem = problem };
    return .{ .reply = raw.of.reply.slice() };
}

const network_raw = struct {
    extern "vouchd:check/network@0.1.0" fn links(*anyopaque) void;
    extern "vouchd:check/network@0.1.0" fn addresses(*anyopaque) void;
};

pub const Link = extern struct {
    /// `name.slice()`
    name: Text,
    /// Whether the administrator has set it up.
    up: bool,
    /// Whether the cable is plugged in and the other end is up.
    carrier: bool,
};

/// Lists the network links of the host. Needs no grant.
pub fn links() Answer([]const Link) {
    var raw: Raw(List(Link), 16) = undefined;
    network_raw.links(&raw);
    if (raw.problem()) |problem| return .{ .problem = problem };
    return .{ .reply = raw.of.reply.slice() };
}

pub const Address = extern struct { link: Text, ip: Text, prefix: u8 };

/// Lists the addresses of the host. Needs no grant.
pub fn addresses() Answer([]const Address) {
    var raw: Raw(List(Address), 16) = undefined;
    network_raw.addresses(&raw);
    if (raw.problem()) |problem| return .{ .problem = problem };
    return .{ .reply = raw.of.reply.slice() };
}

const clock_raw = struct {
    extern "vouchd:check/clock@0.1.0" fn now() u64;
};

/// The host's clock: Unix time in milliseconds.
pub fn now() u64 {
    return clock_raw.now();
}

const stream_raw = struct {
    extern "vouchd:check/stream@0.1.0" fn @"connect-tcp"([*]const u8, usize, u32, *anyopaque) void;
    extern "vouchd:check/stream@0.1.0" fn @"connect-unix"([*]const u8, usize, u32, *anyopaque) void;
    extern "vouchd:check/stream@0.1.0" fn @"[method]connection.send"(u32, [*]const u8, usize, *anyopaque) void;
    extern "vouchd:check/stream@0.1.0" fn @"[method]connection.receive"(u32, bool, [*]const u8, usize, u32, u32, *anyopaque) void;
    extern "vouchd:check/stream@0.1.0" fn @"[method]connection.start-tls"(u32, [*]const u8, usize, bool, u32, *anyopaque) void;
    extern "vouchd:check/stream@0.1.0" fn @"[resource-drop]connection"(u32) void;
};

/// The certificate that a server presented in a TLS handshake.
pub const Certificate = struct {
    /// Such as `CN=www.example.com, O=Example`.
    subject: []const u8,
    issuer: []const u8,
    /// The names and addresses that the certificate is for; take `slice()` of each.
    names: []const Text,
    /// Unix time in seconds.
    not_before: i64,
    not_after: i64,
    /// Why it could not be verified; null if it was.
    problem: ?[]const u8,
    /// `TLSv1.3` or `TLSv1.2`.
    protocol: []const u8,
};

/// A connection to a peer. It closes with `close`, and at the end of the run. It carries at most `limits.probe_bytes` each way,
/// and a check may have `limits.connections` of them open at once.
pub const Connection = struct {
    handle: u32,

    /// Sends all of `data`, in the time that the run has left.
    pub fn send(self: Connection, data: []const u8) Answer(void) {
        var raw: Raw(u8, 16) = undefined;
        stream_raw.@"[method]connection.send"(self.handle, ptr(data), data.len, &raw);
        if (raw.problem()) |problem| return .{ .problem = problem };
        return .{ .reply = {} };
    }

    /// Receives until `max_bytes` arrived, the peer closed, or the time is up, and returns what has arrived: less than `max_bytes`,
    /// or nothing, if the peer closed. A timeout if nothing arrived in time.
    pub fn receive(self: Connection, max_bytes: u32, timeout_ms: u32) Answer([]const u8) {
        return self.received(null, max_bytes, timeout_ms);
    }

    /// Receives up to and including `until`. Bytes after it are kept for the next call. Returns less if `max_bytes` arrived
    /// first, or the peer closed.
    pub fn receiveUntil(self: Connection, until: []const u8, max_bytes: u32, timeout_ms: u32) Answer([]const u8) {
        return self.received(until, max_bytes, timeout_ms);
    }

    fn received(self: Connection, until: ?[]const u8, max_bytes: u32, timeout_ms: u32) Answer([]const u8) {
        var raw: Raw(Text, 16) = undefined;
        const end = until orelse "";
        stream_raw.@"[method]connection.receive"(self.handle, until != null, ptr(end), end.len, max_bytes, timeout_ms, &raw);
        if (raw.problem()) |problem| return .{ .problem = problem };
        return .{ .reply = raw.of.reply.slice() };
    }

    /// Continues with TLS. A certificate that cannot be verified is an error with `verify`; without it, `problem` says why.
    pub fn startTls(self: Connection, server_name: []const u8, verify: bool, timeout_ms: u32) Answer(Certificate) {
        const Shown = extern struct {
            subject: Text,
            issuer: Text,
            names: List(Text),
            not_before: i64,
            not_after: i64,
            has_problem: bool,
            problem: Text,
            protocol: Text,
        };
        var raw: Raw(Shown, 72) = undefined;
        stream_raw.@"[method]connection.start-tls"(self.handle, ptr(server_name), server_name.len, verify, timeout_ms, &raw);
        if (raw.problem()) |problem| return .{ .problem = problem };
        const shown = raw.of.reply;
        return .{ .reply = .{
            .subject = shown.subject.slice(),
            .issuer = shown.issuer.slice(),
            .names = shown.names.slice(),
            .not_before = shown.not_before,
            .not_after = shown.not_after,
            .problem = if (shown.has_problem) shown.problem.slice() else null,
            .protocol = shown.protocol.slice(),
        } };
    }

    /// Closes the connection, which makes room for another one. It must not be used afterwards.
    pub fn close(self: Connection) void {
        stream_raw.@"[resource-drop]connection"(self.handle);
    }
};

/// Opens a connection to `host:port`, IPv6 in brackets.
pub fn connectTcp(address: []const u8, timeout_ms: u32) Answer(Connection) {
    var raw: Raw(u32, 16) = undefined;
    stream_raw.@"connect-tcp"(ptr(address), address.len, timeout_ms, &raw);
    if (raw.problem()) |problem| return .{ .problem = problem };
    return .{ .reply = .{ .handle = raw.of.reply } };
}

/// Opens a connection to a unix socket.
pub fn connectUnix(path: []const u8, timeout_ms: u32) Answer(Connection) {
    var raw: Raw(u32, 16) = undefined;
    stream_raw.@"connect-unix"(ptr(path), path.len, timeout_ms, &raw);
    if (raw.problem()) |problem| return .{ .problem = problem };
    return .{ .reply = .{ .handle = raw.of.reply } };
}
