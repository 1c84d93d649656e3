//! Behaves as the parameter `do` says, for sdk/conformance: behaviours.py there says what each must show.

const std = @import("std");
const vouchd = @import("vouchd_check");
const Context = vouchd.Context;
const Report = vouchd.Report;

pub const panic = vouchd.panic;

const Params = struct {
    do: []const u8,
    text: ?[]const u8,
    address: []const u8 = "",
    path: []const u8 = "",
    url: []const u8 = "",
    name: []const u8 = "",
    number: i32 = 0,
    insecure: bool = false,
    timeout: vouchd.Duration = .{ .ms = 0 },
    list: []const []const u8,
    headers: vouchd.Table,

    fn said(p: Params) ![]const u8 {
        return p.text orelse vouchd.fail("parameter `text` is missing", .{});
    }

    fn connect(p: Params) !vouchd.Connection {
        const connected = if (p.path.len > 0) vouchd.connectUnix(p.path, p.timeout.ms) else vouchd.connectTcp(p.address, p.timeout.ms);
        return connected.need(p.do);
    }
};

/// One function for each value of `do`.
const acts = struct {
    // ---- Reports and errors ----

    pub fn pass(_: Context, p: Params) !Report {
        return Report.init(.pass, "{s}", .{try p.said()});
    }
    pub fn warn(_: Context, p: Params) !Report {
        return Report.init(.warn, "{s}", .{try p.said()});
    }
    pub fn fail(_: Context, p: Params) !Report {
        return Report.init(.fail, "{s}", .{try p.said()});
    }
    pub fn fault(_: Context, p: Params) !Report {
        return Report.init(.fault, "{s}", .{try p.said()});
    }
    pub fn adjust(_: Context, p: Params) !Report {
        var report = try Report.init(.pass, "adjusted", .{});
        report.adjust = @intCast(p.number);
        return report;
    }
    pub fn metrics(_: Context, _: Params) !Report {
        var report = try Report.init(.pass, "measured", .{});
        try report.metric("seconds", 0.25, "s");
        try report.metric("size", 1 << 20, "B");
        try report.metric("share", 99.5, "%");
        try report.metric("count", 3, "c");
        try report.metric("plain", -1.5, "");
        try report.metric("größe", 1, "");
        return report;
    }
    pub fn nan(_: Context, _: Params) !Report {
        var report = try Report.init(.pass, "measured", .{});
        try report.metric("nan", std.math.nan(f64), "");
        try report.metric("inf", std.math.inf(f64), "");
        try report.metric("fine", 1, "");
        return report;
    }
    pub fn @"error"(_: Context, p: Params) !Report {
        return vouchd.fail("{s}", .{try p.said()});
    }
    pub fn panic(_: Context, p: Params) !Report {
        @panic(try p.said());
    }

    // ---- Parameters, memo, log ----

    pub fn length(_: Context, p: Params) !Report {
        return Report.init(.pass, "{d} bytes", .{(try p.said()).len});
    }
    pub fn params(ctx: Context, _: Params) !Report {
        var all: std.ArrayList(u8) = .empty;
        for (ctx.params[1..], 0..) |given, i| {
            if (i > 0) try all.append(vouchd.alloc, ' ');
            try all.appendSlice(vouchd.alloc, given.key.slice());
            try all.append(vouchd.alloc, '=');
            try all.appendSlice(vouchd.alloc, given.value.slice());
        }
        return Report.init(.pass, "{s}", .{all.items});
    }
    pub fn context(ctx: Context, _: Params) !Report {
        return Report.init(.pass, "{s} {d}", .{ ctx.name, ctx.budget_ms });
    }
    pub fn count(_: Context, _: Params) !Report {
        const runs = (std.fmt.parseInt(u32, vouchd.recall(), 10) catch 0) + 1;
        vouchd.remember(try std.fmt.allocPrint(vouchd.alloc, "{d}", .{runs}));
        var report = try Report.init(.pass, "counted", .{});
        try report.metric("runs", @floatFromInt(runs), "c");
        return report;
    }
    pub fn bytes(_: Context, _: Params) !Report {
        var all: [256]u8 = undefined;
        for (&all, 0..) |*byte, value| byte.* = @intCast(value);
        const found = vouchd.recall();
        vouchd.remember(&all);
        if (found.len > 0 and !std.mem.eql(u8, found, &all)) return Report.init(.fail, "found {any}", .{found});
        return Report.init(.pass, "{d} bytes came back", .{found.len});
    }
    pub fn remember(_: Context, p: Params) !Report {
        const data = try vouchd.alloc.alloc(u8, @intCast(p.number));
        @memset(data, 'x');
        vouchd.remember(data);
        return Report.init(.pass, "remembers", .{});
    }
    pub fn log(_: Context, p: Params) !Report {
        for ([_]vouchd.Level{ .debug, .info, .warn, .err }) |level| vouchd.log(level, try p.said());
        return Report.init(.pass, "said", .{});
    }
    pub fn flood(_: Context, _: Params) !Report {
        for (0..1000) |i| vouchd.log(.info, try std.fmt.allocPrint(vouchd.alloc, "line {d}", .{i}));
        return Report.init(.pass, "said", .{});
    }

    // ---- Probes ----

    pub fn process(_: Context, p: Params) !Report {
        const found = try vouchd.findProcesses(.{ .name = p.name }).need(p.do);
        if (found.len == 0) return Report.init(.fail, "none", .{});
        var report = try Report.init(.pass, "{d}: {d} {s}", .{ found.len, found[0].pid, found[0].name.slice() });
        try report.metric("age", @as(f64, @floatFromInt(found[0].age_ms)) / 1e3, "s");
        return report;
    }
    pub fn tcp(_: Context, p: Params) !Report {
        const reply = try vouchd.tcp(.{
            .address = p.address,
            .send = try std.mem.concat(vouchd.alloc, u8, &.{ try p.said(), "\n" }),
            .until = "\n",
            .max_bytes = 100_000,
            .timeout_ms = p.timeout.ms,
        }).need(p.do);
        var report = try Report.init(.pass, "{d} bytes: {s}", .{ reply.data.len, reply.data });
        try report.metric("connect", @as(f64, @floatFromInt(reply.connect_us)) / 1e6, "s");
        return report;
    }
    pub fn http(_: Context, p: Params) !Report {
        const response = try vouchd.http(.{
            .url = p.url,
            .method = "POST",
            .headers = &.{.init("x-question", "why")},
            .body = try p.said(),
            .max_body_bytes = 100_000,
            .tls_verify = !p.insecure,
            .timeout_ms = p.timeout.ms,
        }).need(p.do);
        const answer = response.header("x-answer") orelse "";
        var report = try Report.init(.pass, "{d} {s} {s}", .{ response.status, answer, response.body });
        try report.metric("total", @as(f64, @floatFromInt(response.total_us)) / 1e6, "s");
        return report;
    }
    pub fn stat(_: Context, p: Params) !Report {
        const info = try vouchd.stat(p.path).need(p.do) orelse return Report.init(.warn, "no such file", .{});
        var report = try Report.init(.pass, "{s}", .{@tagName(info.kind)});
        try report.metric("size", @floatFromInt(info.size), "B");
        try report.metric("age", @as(f64, @floatFromInt(info.age_ms)) / 1e3, "s");
        return report;
    }
    pub fn read(_: Context, p: Params) !Report {
        const data = try vouchd.read(p.path, @intCast(p.number)).need(p.do) orelse
            return Report.init(.warn, "no such file", .{});
        return Report.init(.pass, "{d} bytes: {s}", .{ data.len, data[0..@min(data.len, 20)] });
    }
    pub fn space(_: Context, p: Params) !Report {
        const found = try vouchd.space(p.path).need(p.do);
        const fits = found.total >= found.available and found.inodes >= found.inodes_available;
        var report = try Report.init(.pass, "{}", .{fits});
        try report.metric("total", @floatFromInt(found.total), "B");
        return report;
    }
    pub fn resolve(_: Context, p: Params) !Report {
        const found = try vouchd.resolve(p.name, p.timeout.ms).need(p.do);
        return Report.init(.pass, "{s} of {d}", .{ found[0].slice(), found.len });
    }
    pub fn links(_: Context, p: Params) !Report {
        for (try vouchd.links().need(p.do)) |link| {
            if (!std.mem.eql(u8, link.name.slice(), p.name)) continue;
            return Report.init(.pass, "{s} up={} carrier={}", .{ p.name, link.up, link.carrier });
        }
        return Report.init(.fail, "no such link", .{});
    }
    pub fn addresses(_: Context, p: Params) !Report {
        for (try vouchd.addresses().need(p.do)) |own| {
            if (!std.mem.eql(u8, own.ip.slice(), p.address)) continue;
            return Report.init(.pass, "{s} {s}/{d}", .{ own.link.slice(), own.ip.slice(), own.prefix });
        }
        return Report.init(.fail, "no such address", .{});
    }
    pub fn talk(_: Context, p: Params) !Report {
        const peer = try p.connect();
        defer peer.close();
        const first = try line(peer, p);
        const second = try line(peer, p);
        try peer.send(try std.fmt.allocPrint(vouchd.alloc, "SAY {s}\r\n", .{try p.said()})).need(p.do);
        return Report.init(.pass, "{s}|{s}|{s}", .{ first, second, try line(peer, p) });
    }
    pub fn starttls(_: Context, p: Params) !Report {
        const peer = try p.connect();
        defer peer.close();
        try peer.send("STARTTLS\r\n").need(p.do);
        _ = try line(peer, p);
        const shown = try peer.startTls(p.name, !p.insecure, 0).need(p.do);
        try peer.send(try std.fmt.allocPrint(vouchd.alloc, "SAY {s}\r\n", .{try p.said()})).need(p.do);
        if (shown.problem) |problem| vouchd.log(.info, problem);
        var report = try Report.init(.pass, "{s} {s} {s} {s},{s} {s}", .{
            shown.protocol,
            shown.subject,
            shown.issuer,
            shown.names[0].slice(),
            shown.names[1].slice(),
            try line(peer, p),
        });
        try report.metric("days", @as(f64, @floatFromInt(shown.not_after - shown.not_before)) / 86_400, "");
        return report;
    }
    pub fn many(_: Context, p: Params) !Report {
        for (0..@intCast(p.number)) |_| (try p.connect()).close();
        return Report.init(.pass, "{d} connections", .{p.number});
    }
    pub fn hoard(_: Context, p: Params) !Report {
        for (0..@intCast(p.number)) |_| _ = try p.connect();
        return Report.init(.pass, "{d} connections", .{p.number});
    }
    pub fn clock(_: Context, _: Params) !Report {
        return Report.init(.pass, "{d}", .{vouchd.now()});
    }

    // ---- What a plugin can't get out of ----

    pub fn loop(_: Context, p: Params) !Report {
        var n: i64 = p.number;
        const volatile_n: *volatile i64 = &n;
        while (true) volatile_n.* += 1;
    }
    pub fn memory(_: Context, _: Params) !Report {
        while (true) @memset(try vouchd.alloc.alloc(u8, 1 << 20), 1);
    }
    pub fn recurse(_: Context, p: Params) !Report {
        return Report.init(.pass, "{d}", .{deeper(p.number)});
    }
};

/// The next line, without its end.
fn line(peer: vouchd.Connection, p: Params) ![]const u8 {
    return std.mem.trimEnd(u8, try peer.receiveUntil("\r\n", 100_000, p.timeout.ms).need(p.do), "\r\n");
}

noinline fn deeper(n: i64) i64 {
    const volatile_n: *const volatile i64 = &n;
    return if (volatile_n.* < 0) 0 else deeper(n + 1) + volatile_n.*;
}

fn check(ctx: Context) !Report {
    const p = try ctx.decode(Params);
    inline for (@typeInfo(acts).@"struct".decl_names) |name| {
        if (std.mem.eql(u8, name, p.do)) return @field(acts, name)(ctx, p);
    }
    return vouchd.fail("parameter `do`: found `{s}`", .{p.do});
}

comptime {
    vouchd.entry(check);
}
