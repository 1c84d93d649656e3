//! The parameters of a check as a struct; see `Context.decode`.

const std = @import("std");
const vouchd = @import("vouchd_check.zig");
const Error = vouchd.Error;
const Param = vouchd.Param;

/// Written `"500ms"`, `"2s"`, `"1m"`, `"12h"`, `"7d"`.
pub const Duration = struct { ms: u32 };

/// A table, as its entries in file order.
pub const Table = struct {
    entries: []const Entry,
    pub const Entry = struct { key: []const u8, value: []const u8 };
};

pub fn decode(comptime T: type, params: []const Param) Error!T {
    const known = comptime names(T, "");
    outer: for (params) |given| {
        const key = given.key.slice();
        inline for (known) |name| {
            const matches = if (comptime std.mem.endsWith(u8, name, ".*"))
                std.mem.startsWith(u8, key, name[0 .. name.len - 1])
            else
                std.mem.eql(u8, key, name);
            if (matches) continue :outer;
        }
        return vouchd.fail("unknown parameter `{s}`, expected one of: {s}", .{ key, comptime joined(known) });
    }
    return fields(T, "", params);
}

/// The names of the parameters in a struct; that of a `Table` ends with `.*`.
fn names(comptime T: type, comptime prefix: []const u8) []const []const u8 {
    const info = @typeInfo(T).@"struct";
    var all: []const []const u8 = &.{};
    for (info.field_names, info.field_types) |name, Field| {
        all = all ++ switch (Field) {
            Table => &[_][]const u8{prefix ++ name ++ ".*"},
            else => if (isStruct(Field)) names(Field, prefix ++ name ++ ".") else &[_][]const u8{prefix ++ name},
        };
    }
    return all;
}

fn joined(comptime parts: []const []const u8) []const u8 {
    var all: []const u8 = "";
    for (parts, 0..) |part, i| all = all ++ (if (i == 0) "" else ", ") ++ part;
    return all;
}

fn isStruct(comptime T: type) bool {
    return T != Duration and T != Table and @typeInfo(T) == .@"struct";
}

fn fields(comptime T: type, comptime prefix: []const u8, params: []const Param) Error!T {
    const info = @typeInfo(T).@"struct";
    var made: T = undefined;
    inline for (info.field_names, info.field_types, info.field_attrs) |name, Field, attributes| {
        const key = prefix ++ name;
        @field(made, name) = if (Field == Table)
            try table(key, params)
        else if (comptime isStruct(Field))
            try fields(Field, key ++ ".", params)
        else
            try field(Field, key, comptime attributes.defaultValue(Field), params);
    }
    return made;
}

fn table(comptime key: []const u8, params: []const Param) Error!Table {
    var entries: std.ArrayList(Table.Entry) = .empty;
    for (params) |given| {
        const name = given.key.slice();
        if (!std.mem.startsWith(u8, name, key ++ ".")) continue;
        try entries.append(vouchd.alloc, .{ .key = name[key.len + 1 ..], .value = given.value.slice() });
    }
    return .{ .entries = entries.items };
}

fn field(comptime T: type, comptime key: []const u8, comptime default: ?T, params: []const Param) Error!T {
    const Item = itemOf(T);
    var found: std.ArrayList(Item) = .empty;
    for (params) |given| {
        if (std.mem.eql(u8, given.key.slice(), key)) try found.append(vouchd.alloc, try value(Item, key, given.value.slice()));
    }
    if (found.items.len == 0) {
        if (default) |fallback| return fallback;
    }
    if (comptime isList(T)) return found.items;
    if (found.items.len > 1) return vouchd.fail("parameter `{s}`: found {d} values, expected one", .{ key, found.items.len });
    if (found.items.len == 1) return found.items[0];
    return if (@typeInfo(T) == .optional) null else vouchd.fail("parameter `{s}` is missing", .{key});
}

fn isList(comptime T: type) bool {
    return T != []const u8 and @typeInfo(T) == .pointer;
}

fn itemOf(comptime T: type) type {
    if (isList(T)) return std.meta.Child(T);
    return if (@typeInfo(T) == .optional) std.meta.Child(T) else T;
}

fn value(comptime T: type, comptime key: []const u8, text: []const u8) Error!T {
    if (T == []const u8) return text;
    const expected = switch (@typeInfo(T)) {
        .bool => "true or false",
        .int => std.fmt.comptimePrint("a whole number from {d} to {d}", .{ std.math.minInt(T), std.math.maxInt(T) }),
        .float => "a number",
        .@"struct" => "a duration like \"500ms\"",
        else => @compileError("a parameter cannot have the type " ++ @typeName(T)),
    };
    return parse(T, text) orelse vouchd.fail("parameter `{s}`: expected {s}, found `{s}`", .{ key, expected, text });
}

fn parse(comptime T: type, text: []const u8) ?T {
    if (T == Duration) {
        const end = std.mem.indexOfNone(u8, text, "0123456789") orelse return null;
        const number = std.fmt.parseInt(u32, text[0..end], 10) catch return null;
        inline for (.{ .{ "ms", 1 }, .{ "s", 1000 }, .{ "m", 60_000 }, .{ "h", 3_600_000 }, .{ "d", 86_400_000 } }) |unit| {
            if (std.mem.eql(u8, std.mem.trimStart(u8, text[end..], " "), unit[0])) return .{ .ms = std.math.mul(u32, number, unit[1]) catch return null };
        }
        return null;
    }
    return switch (@typeInfo(T)) {
        .bool => if (std.mem.eql(u8, text, "true")) true else if (std.mem.eql(u8, text, "false")) false else null,
        .int => std.fmt.parseInt(T, text, 10) catch null,
        .float => std.fmt.parseFloat(T, text) catch null,
        else => unreachable,
    };
}

const Everything = struct {
    address: []const u8,
    label: ?[]const u8,
    timeout: Duration = .{ .ms = 1000 },
    codes: []const u16,
    headers: Table,
    load: f64 = 1.5,
    strict: bool = false,
    range: struct { low: i8, high: i8 = 9 },
};

fn decoded(given: []const [2][]const u8) Error!Everything {
    var params: [12]Param = undefined;
    const base = [_][2][]const u8{ .{ "address", "a:1" }, .{ "range.low", "-1" } };
    for (params[0 .. 2 + given.len], 0..) |*param, i| {
        const pair = if (i < base.len) base[i] else given[i - base.len];
        param.* = .{ .key = .of(pair[0]), .value = .of(pair[1]) };
    }
    return decode(Everything, params[0 .. 2 + given.len]);
}

test "parameters become fields" {
    const found = try decoded(&.{
        .{ "label", "" },
        .{ "timeout", "2s" },
        .{ "codes", "200" },
        .{ "codes", "204" },
        .{ "headers.x-a", "1" },
        .{ "load", "-0.5" },
        .{ "strict", "true" },
    });
    try std.testing.expectEqualStrings("", found.label.?);
    try std.testing.expectEqual(2000, found.timeout.ms);
    try std.testing.expectEqualSlices(u16, &.{ 200, 204 }, found.codes);
    try std.testing.expectEqualStrings("x-a", found.headers.entries[0].key);
    try std.testing.expectEqual(-0.5, found.load);
    try std.testing.expect(found.strict and found.range.low == -1 and found.range.high == 9);
}

test "left-out parameter has its default" {
    const found = try decoded(&.{});
    try std.testing.expect(found.label == null and found.codes.len == 0 and found.headers.entries.len == 0);
    try std.testing.expectEqual(1000, found.timeout.ms);
}

test "durations are written as in the configuration" {
    const good = .{ .{ "500ms", 500 }, .{ "0s", 0 }, .{ "2m", 120_000 }, .{ "3h", 10_800_000 }, .{ "7d", 604_800_000 }, .{ "10 s", 10_000 } };
    inline for (good) |row| try std.testing.expectEqual(row[1], parse(Duration, row[0]).?.ms);
    const bad = [_][]const u8{ "", "1", "s", "-1s", "1.5s", "1s ", " 1s", "1S", "1m30s", "1µs", "1w", "213503982335d", "99999999999999999h" };
    for (bad) |text| try std.testing.expect(parse(Duration, text) == null);
}

test "wrong parameters are named" {
    const known = "address, label, timeout, codes, headers.*, load, strict, range.low, range.high";
    const table_of = [_][3][]const u8{
        .{ "timeout", "5", "parameter `timeout`: expected a duration like \"500ms\", found `5`" },
        .{ "timeout", "99999999d", "parameter `timeout`: expected a duration like \"500ms\", found `99999999d`" },
        .{ "codes", "70000", "parameter `codes`: expected a whole number from 0 to 65535, found `70000`" },
        .{ "strict", "yes", "parameter `strict`: expected true or false, found `yes`" },
        .{ "address", "b", "parameter `address`: found 2 values, expected one" },
        .{ "adress", "b", "unknown parameter `adress`, expected one of: " ++ known },
    };
    for (table_of) |row| {
        try std.testing.expectError(error.Check, decoded(&.{.{ row[0], row[1] }}));
        try std.testing.expectEqualStrings(row[2], vouchd.reason);
    }
    try std.testing.expectError(error.Check, decode(Everything, &.{}));
    try std.testing.expectEqualStrings("parameter `address` is missing", vouchd.reason);
}
