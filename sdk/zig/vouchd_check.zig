//! vouchd checks in Zig: the contract of ../wit/check.wit, bound by hand. No libc, no WASI.
//!
//! Write `fn check(ctx: Context) !Report`, and put `comptime { vouchd.entry(check); }` beside it. An error that the check
//! returns is an error of the check itself; `fail` says why in words. Each run is a fresh instance, so nothing is freed.
//!
//! The layout of the extern structs is the contract's own (the component model's canonical ABI).

const std = @import("std");
const alloc = std.heap.wasm_allocator;

pub const Error = error{ Check, OutOfMemory };

var reason: []const u8 = "";

/// The check could not be carried out, for this reason. Not a verdict about the service.
pub fn fail(comptime format: []const u8, args: anytype) Error {
    reason = try std.fmt.allocPrint(alloc, format, args);
    return error.Check;
}

/// A text or a list as the contract lays it out.
fn List(comptime T: type) type {
    return extern struct {
        ptr: [*]const T,
        len: usize,

        fn of(items: []const T) @This() {
            // The pointer of an empty slice may lie outside of memory, which the daemon takes for a fault.
            return .{ .ptr = if (items.len == 0) @ptrFromInt(@alignOf(T)) else items.ptr, .len = items.len };
        }
        fn slice(self: @This()) []const T {
            return self.ptr[0..self.len];
        }
    };
}

const Text = List(u8);
const Param = extern struct { key: Text, value: Text };

pub const Context = struct {
    /// Name of the check in the configuration.
    name: []const u8,
    params: []const Param,
    /// Milliseconds left before the run is ended.
    budget_ms: u32,

    /// The first parameter of that name.
    pub fn param(self: Context, key: []const u8) ?[]const u8 {
        for (self.params) |given| {
            if (std.mem.eql(u8, given.key.slice(), key)) return given.value.slice();
        }
        return null;
    }

    /// An error if there is a parameter that is none of `known`: most likely a typing error.
    pub fn allowParams(self: Context, known: []const []const u8) Error!void {
        for (self.params) |given| {
            for (known) |name| {
                if (std.mem.eql(u8, given.key.slice(), name)) break;
            } else return fail("unknown parameter `{s}`", .{given.key.slice()});
        }
    }
};

pub const Verdict = enum(u8) {
    pass,
    /// Works, but another router would serve better.
    warn,
    fail,
    /// This router must not be active, whatever it costs.
    fault,
};

const Metric = extern struct { name: Text, value: f64, unit: Text };

pub const Report = struct {
    verdict: Verdict,
    /// One line, at best with what was expected and what was found.
    message: []const u8,
    /// A wish for the priority; off unless the operator allows a range.
    adjust: ?i16 = null,
    metrics: std.ArrayList(Metric) = .empty,

    pub fn init(verdict: Verdict, comptime format: []const u8, args: anytype) Error!Report {
        return .{ .verdict = verdict, .message = try std.fmt.allocPrint(alloc, format, args) };
    }

    /// A number measured during the run; the unit is `s`, `B`, `%`, `c` (a counter), or empty.
    pub fn metric(self: *Report, name: []const u8, value: f64, unit: []const u8) Error!void {
        try self.metrics.append(alloc, .{ .name = .of(name), .value = value, .unit = .of(unit) });
    }
};

/// Why a probe gave no answer.
pub const ProbeError = struct {
    pub const Problem = enum(u8) { denied, timeout, refused, unresolved, tls, invalid, other };
    problem: Problem,
    text: []const u8,

    /// Fails, saying that `what` did not answer and why; or an error where the probe could not be made at all.
    pub fn orFail(self: ProbeError, what: []const u8) Error!Report {
        return switch (self.problem) {
            .denied, .invalid => fail("{s}", .{self.text}),
            .timeout => Report.init(.fail, "{s}: no answer in time", .{what}),
            .refused => Report.init(.fail, "{s}: connection refused", .{what}),
            .unresolved => Report.init(.fail, "{s}: the name does not resolve", .{what}),
            .tls => Report.init(.fail, "{s}: TLS: {s}", .{ what, self.text }),
            .other => Report.init(.fail, "{s}: {s}", .{ what, self.text }),
        };
    }
};

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

pub fn Answer(comptime T: type) type {
    return union(enum) { reply: T, problem: ProbeError };
}

pub const TcpRequest = struct {
    /// `host:port`, IPv6 in brackets.
    addr: []const u8,
    /// Sent after connecting.
    send: []const u8 = "",
    /// Read until this is seen.
    until: ?[]const u8 = null,
    /// 0 without `until` reads nothing.
    max_bytes: u32 = 0,
    timeout_ms: u32,
};

pub const TcpReply = struct { connect_us: u64, data: []const u8 };

extern "vouchd:check/tcp@0.1.0" fn probe(
    addr: [*]const u8,
    addr_len: usize,
    send: [*]const u8,
    send_len: usize,
    has_until: u32,
    until: [*]const u8,
    until_len: usize,
    max_bytes: u32,
    timeout_ms: u32,
    answer: *anyopaque,
) void;

pub fn tcp(request: TcpRequest) Answer(TcpReply) {
    var answer: extern struct {
        is_error: bool,
        of: extern union { reply: extern struct { connect_us: u64, data: Text }, problem: RawError },
    } = undefined;
    comptime std.debug.assert(@sizeOf(@TypeOf(answer)) == 24);
    const until = request.until orelse "";
    probe(
        request.addr.ptr,
        request.addr.len,
        request.send.ptr,
        request.send.len,
        @intFromBool(request.until != null),
        until.ptr,
        until.len,
        request.max_bytes,
        request.timeout_ms,
        &answer,
    );
    if (answer.is_error) return .{ .problem = answer.of.problem.lift() };
    const reply = answer.of.reply;
    return .{ .reply = .{ .connect_us = reply.connect_us, .data = reply.data.slice() } };
}

/// The probes that answer with one number, from 0 up; below that: -1 denied, -2 timeout, -3 refused, -4 unresolved, -5 TLS,
/// -6 other, -7 invalid argument.
pub const simple = struct {
    const raw = struct {
        extern "vouchd:check/simple@0.1.0" fn @"process-count"(name: [*]const u8, len: usize) i32;
        extern "vouchd:check/simple@0.1.0" fn @"http-get"(url: [*]const u8, len: usize, timeout_ms: u32) i32;
    };

    /// Number of running processes with this name.
    pub fn processCount(name: []const u8) i32 {
        return raw.@"process-count"(name.ptr, name.len);
    }

    /// Status code of a GET; redirects are not followed.
    pub fn httpGet(url: []const u8, timeout_ms: u32) i32 {
        return raw.@"http-get"(url.ptr, url.len, timeout_ms);
    }
};

const memo = struct {
    extern "vouchd:check/memo@0.1.0" fn get(answer: *Text) void;
    extern "vouchd:check/memo@0.1.0" fn set(data: [*]const u8, len: usize) void;
};

/// What the last run remembered; empty at first.
pub fn recall() []const u8 {
    var data: Text = undefined;
    memo.get(&data);
    return data.slice();
}

/// For the next run, if this one ends without an error. At most 4096 bytes.
pub fn remember(data: []const u8) void {
    memo.set(data.ptr, data.len);
}

pub const Level = enum(u32) { debug, info, warn, err };

const logger = struct {
    extern "vouchd:check/log@0.1.0" fn log(level: Level, message: [*]const u8, len: usize) void;
};

/// A line for the daemon's log.
pub fn log(level: Level, message: []const u8) void {
    logger.log(level, message.ptr, message.len);
}

const Result = extern struct {
    is_error: bool,
    of: extern union {
        report: extern struct {
            verdict: Verdict,
            message: Text,
            has_adjust: bool,
            adjust: i16,
            metrics: List(Metric),
        },
        reason: Text,
    },
};

fn lower(answer: anyerror!Report) Result {
    const report = answer catch |problem| {
        const text = if (problem == error.Check) reason else @errorName(problem);
        return .{ .is_error = true, .of = .{ .reason = .of(text) } };
    };
    return .{ .is_error = false, .of = .{ .report = .{
        .verdict = report.verdict,
        .message = .of(report.message),
        .has_adjust = report.adjust != null,
        .adjust = report.adjust orelse 0,
        .metrics = .of(report.metrics.items),
    } } };
}

/// Where the daemon puts what it hands over.
fn realloc(old: [*]u8, old_len: usize, alignment: usize, len: usize) callconv(.c) [*]u8 {
    std.debug.assert(alignment <= 8);
    const room = alloc.alignedAlloc(u8, .of(u64), @max(len, 1)) catch @trap();
    @memcpy(room[0..@min(old_len, len)], old[0..@min(old_len, len)]);
    return room.ptr;
}

/// Makes `check` the plugin's entry.
pub fn entry(comptime check: fn (Context) anyerror!Report) void {
    const exported = struct {
        var result: Result = undefined;

        fn run(name: [*]const u8, name_len: usize, params: [*]const Param, params_len: usize, budget_ms: u32) callconv(.c) *Result {
            comptime std.debug.assert(@sizeOf(Result) == 28);
            result = lower(check(.{ .name = name[0..name_len], .params = params[0..params_len], .budget_ms = budget_ms }));
            return &result;
        }
    };
    @export(&exported.run, .{ .name = "vouchd:check/checker@0.1.0#check" });
    @export(&realloc, .{ .name = "cabi_realloc" });
}
