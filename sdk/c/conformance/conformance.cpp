/// Behaves as the parameter `do` says, for sdk/conformance: behaviours.py there says what each must show.
#include <cmath>
#include <vector>

#include "../vouchd_check.hpp"

using vouchd::Answer, vouchd::Connection, vouchd::Context, vouchd::Report, vouchd::view;
using namespace std::string_literals;

namespace {

struct Run {
  const Context &ctx;
  vouchd_text what{}, raw_text{}, raw_address{}, raw_path{}, raw_url{}, raw_name{};
  int64_t number = 0;
  bool insecure = false;
  uint32_t timeout = 0;

  std::string label() const { return std::string(view(what)); }
  std::string text() const { return std::string(view(raw_text)); }
  std::string_view address() const { return view(raw_address); }
  std::string_view path() const { return view(raw_path); }
  std::string_view name() const { return view(raw_name); }

  Answer<Connection> connect() const {
    return path().empty() ? ctx.connect_tcp(address(), timeout) : ctx.connect_unix(path(), timeout);
  }
};

std::string join(const std::vector<std::string_view> &parts, std::string_view between) {
  std::string all;
  for (size_t i = 0; i < parts.size(); i++) all.append(i == 0 ? "" : between).append(parts[i]);
  return all;
}

// ---- Reports and errors ----

Report say(const Run &r, Report (*make)(std::string_view)) {
  return r.raw_text.data ? make(r.text()) : Report::error("parameter `text` is missing");
}

Report pass(const Run &r) { return say(r, Report::pass); }
Report warn(const Run &r) { return say(r, Report::warn); }
Report fail(const Run &r) { return say(r, Report::fail); }
Report fault(const Run &r) { return say(r, Report::fault); }
Report error(const Run &r) { return say(r, Report::error); }
Report panics(const Run &r) { vouchd_panic("%s", r.text().c_str()); }
Report adjust(const Run &r) { return Report::pass("adjusted").adjust(static_cast<int16_t>(r.number)); }

Report metrics(const Run &) {
  return Report::pass("measured").metric("seconds", 0.25, "s").metric("size", 1 << 20, "B").metric("share", 99.5, "%")
      .metric("count", 3, "c").metric("plain", -1.5, "").metric("größe", 1, "");
}

Report nan(const Run &) {
  return Report::pass("measured").metric("nan", NAN, "").metric("inf", INFINITY, "").metric("fine", 1, "");
}

// ---- Parameters, memo, log ----

Report length(const Run &r) { return Report::pass(std::to_string(r.raw_text.len) + " bytes"); }

Report params(const Run &r) {
  std::string all;
  for (const vouchd_param_entry &param : r.ctx) {
    if (&param == r.ctx.begin()) continue;
    all.append(all.empty() ? "" : " ").append(view(param.key)).append("=").append(view(param.value));
  }
  return Report::pass(all);
}

Report context(const Run &r) {
  return Report::pass(std::string(r.ctx.name()) + " " + std::to_string(r.ctx.budget_ms()));
}

Report count(const Run &r) {
  uint32_t runs = 0;
  std::string_view memo = r.ctx.recall();
  if (memo.size() == sizeof runs) memcpy(&runs, memo.data(), sizeof runs);
  runs++;
  r.ctx.remember({reinterpret_cast<const char *>(&runs), sizeof runs});
  return Report::pass("counted").metric("runs", runs, "c");
}

Report bytes(const Run &r) {
  std::string all;
  for (int i = 0; i < 256; i++) all.push_back(static_cast<char>(i));
  std::string_view memo = r.ctx.recall();
  r.ctx.remember(all);
  if (!memo.empty() && memo != all) return Report::fail("others");
  return Report::pass(std::to_string(memo.size()) + " bytes came back");
}

Report remember(const Run &r) {
  r.ctx.remember(std::string(static_cast<size_t>(r.number), 'x'));
  return Report::pass("remembers");
}

Report logs(const Run &r) {
  for (auto level : {VOUCHD_LOG_DEBUG, VOUCHD_LOG_INFO, VOUCHD_LOG_WARN, VOUCHD_LOG_ERROR}) r.ctx.log(level, r.text());
  return Report::pass("said");
}

Report flood(const Run &r) {
  for (int i = 0; i < 1000; i++) r.ctx.log(VOUCHD_LOG_INFO, "line " + std::to_string(i));
  return Report::pass("said");
}

Report env(const Run &r) {
  const char *value = getenv(std::string(r.name()).c_str());
  return Report::pass(value ? value : "");
}

// ---- Probes ----

Report process(const Run &r) {
  vouchd_process_query query{};
  query.name = &r.raw_name;
  auto found = r.ctx.find_processes(query);
  if (!found) return found.or_fail(r.label());
  if (found->len == 0) return Report::fail("none");
  const vouchd_process &first = found->list[0];
  std::string message = std::to_string(found->len) + ": " + std::to_string(first.pid) + " ";
  return Report::pass(message.append(view(first.name))).metric("age", first.age_ms / 1e3, "s");
}

Report tcp(const Run &r) {
  std::string sent = r.text() + "\n";
  vouchd_text end = vouchd::text("\n");
  vouchd_tcp_request request{r.raw_address, vouchd::text(sent), &end, 100000, r.timeout};
  auto reply = r.ctx.tcp(request);
  if (!reply) return reply.or_fail(r.label());
  std::string message = std::to_string(reply->data.len) + " bytes: ";
  return Report::pass(message.append(view(reply->data))).metric("connect", reply->connect_us / 1e6, "s");
}

Report http(const Run &r) {
  vouchd_http_request request = vouchd_get(r.raw_url, r.timeout);
  vouchd_header question{vouchd::text("x-question"), vouchd::text("why")};
  request.method = vouchd::text("POST");
  request.headers = &question;
  request.headers_len = 1;
  request.body = r.raw_text;
  request.tls_verify = !r.insecure;
  auto response = r.ctx.http(request);
  if (!response) return response.or_fail(r.label());
  std::string_view answer;
  for (size_t i = 0; i < response->headers_len; i++)
    if (view(response->headers[i].name) == "x-answer") answer = view(response->headers[i].value);
  std::string message = join({std::to_string(response->status), answer, view(response->body)}, " ");
  return Report::pass(message).metric("total", response->total_us / 1e6, "s");
}

Report stat(const Run &r) {
  auto found = r.ctx.stat(r.path());
  if (!found) return found.or_fail(r.label());
  if (!found->exists) return Report::warn("no such file");
  static const char *const kinds[] = {"file", "directory", "other"};
  return Report::pass(kinds[found->info.kind]).metric("size", static_cast<double>(found->info.size), "B")
      .metric("age", found->info.age_ms / 1e3, "s");
}

Report reads(const Run &r) {
  auto found = r.ctx.read(r.path(), static_cast<uint32_t>(r.number));
  if (!found) return found.or_fail(r.label());
  if (!found->exists) return Report::warn("no such file");
  std::string message = std::to_string(found->data.len) + " bytes: ";
  return Report::pass(message.append(view(found->data).substr(0, 20)));
}

Report space(const Run &r) {
  auto found = r.ctx.space(r.path());
  if (!found) return found.or_fail(r.label());
  bool fits = found->total >= found->available && found->inodes >= found->inodes_available;
  return Report::pass(fits ? "true" : "false").metric("total", static_cast<double>(found->total), "B");
}

Report resolve(const Run &r) {
  auto found = r.ctx.resolve(r.name(), r.timeout);
  return found ? Report::pass(view(found->list[0])) : found.or_fail(r.label());
}

Report links(const Run &r) {
  auto found = r.ctx.links();
  if (!found) return found.or_fail(r.label());
  for (size_t i = 0; i < found->len; i++) {
    const vouchd_link &link = found->list[i];
    if (view(link.name) != r.name()) continue;
    return Report::pass(std::string(r.name()) + " up=" + (link.up ? "true" : "false") + " carrier=" +
                        (link.carrier ? "true" : "false"));
  }
  return Report::fail("no such link");
}

Report addresses(const Run &r) {
  auto found = r.ctx.addresses();
  if (!found) return found.or_fail(r.label());
  for (size_t i = 0; i < found->len; i++) {
    const vouchd_address &own = found->list[i];
    if (view(own.ip) != r.address()) continue;
    return Report::pass(std::string(view(own.link)).append(" ").append(r.address()) + "/" + std::to_string(own.prefix));
  }
  return Report::fail("no such address");
}

/// A line without its end.
std::string_view trimmed(std::string_view line) { return line.substr(0, line.size() < 2 ? 0 : line.size() - 2); }

Report talk(const Run &r) {
  auto peer = r.connect();
  if (!peer) return peer.or_fail(r.label());
  std::vector<std::string_view> said;
  for (std::string send : {""s, ""s, "SAY " + r.text() + "\r\n"}) {
    auto sent = peer->send(send);
    if (!sent) return sent.or_fail(r.label());
    auto line = peer->receive_until("\r\n", 100000, r.timeout);
    if (!line) return line.or_fail(r.label());
    said.push_back(trimmed(*line));
  }
  return Report::pass(join(said, "|"));
}

Report starttls(const Run &r) {
  auto peer = r.connect();
  if (!peer) return peer.or_fail(r.label());
  auto sent = peer->send("STARTTLS\r\n");
  if (!sent) return sent.or_fail(r.label());
  auto line = peer->receive_until("\r\n", 1000);
  if (!line) return line.or_fail(r.label());
  auto shown = peer->start_tls(r.name(), !r.insecure);
  if (!shown) return shown.or_fail(r.label());
  sent = peer->send("SAY " + r.text() + "\r\n");
  if (!sent) return sent.or_fail(r.label());
  auto answer = peer->receive_until("\r\n", 1000);
  if (!answer) return answer.or_fail(r.label());
  if (shown->has_problem) r.ctx.log(VOUCHD_LOG_INFO, view(shown->problem));
  std::vector<std::string_view> names;
  for (size_t i = 0; i < shown->names.len; i++) names.push_back(view(shown->names.list[i]));
  std::string all = join(names, ",");
  return Report::pass(join({view(shown->protocol), view(shown->subject), view(shown->issuer), all, trimmed(*answer)}, " "))
      .metric("days", static_cast<double>(shown->not_after - shown->not_before) / 86400, "");
}

Report many(const Run &r) {
  for (int64_t i = 0; i < r.number; i++) {
    auto peer = r.connect();
    if (!peer) return peer.or_fail(r.label());
  }
  return Report::pass(std::to_string(r.number) + " connections");
}

Report hoard(const Run &r) {
  std::vector<Connection> held;
  for (int64_t i = 0; i < r.number; i++) {
    auto peer = r.connect();
    if (!peer) return peer.or_fail(r.label());
    held.push_back(std::move(*peer));
  }
  return Report::pass(std::to_string(held.size()) + " connections");
}

Report clock(const Run &r) { return Report::pass(std::to_string(r.ctx.now())); }

// ---- What a plugin can't get out of ----

Report loop(const Run &) {
  for (volatile int i = 0;; i = i + 1) {
  }
}

Report memory(const Run &r) {
  std::vector<std::string> held;
  for (;;) held.emplace_back(1 << 20, static_cast<char>('x' + r.number));
}

__attribute__((noinline)) int64_t deeper(volatile int64_t n) { return n < 0 ? 0 : deeper(n + 1) + n; }

Report recurse(const Run &r) { return Report::pass(std::to_string(deeper(r.number))); }

struct Act {
  std::string_view name;
  Report (*act)(const Run &);
};

const Act acts[] = {
    {"pass", pass},         {"warn", warn},         {"fail", fail},           {"fault", fault},   {"error", error},
    {"panic", panics},      {"adjust", adjust},     {"metrics", metrics},     {"nan", nan},       {"length", length},
    {"params", params},     {"context", context},   {"count", count},         {"bytes", bytes},   {"remember", remember},
    {"log", logs},          {"flood", flood},       {"env", env},             {"process", process}, {"tcp", tcp},
    {"http", http},         {"stat", stat},         {"read", reads},          {"space", space},   {"resolve", resolve},
    {"links", links},       {"addresses", addresses}, {"talk", talk},         {"starttls", starttls}, {"many", many},
    {"hoard", hoard},       {"clock", clock},       {"loop", loop},           {"memory", memory}, {"recurse", recurse},
};

Report check(const Context &ctx) {
  Run r{ctx};
  auto wrong = ctx.decode({
      {"do", VOUCHD_TEXT, true, &r.what},
      {"text", VOUCHD_TEXT, false, &r.raw_text},
      {"address", VOUCHD_TEXT, false, &r.raw_address},
      {"path", VOUCHD_TEXT, false, &r.raw_path},
      {"url", VOUCHD_TEXT, false, &r.raw_url},
      {"name", VOUCHD_TEXT, false, &r.raw_name},
      {"number", VOUCHD_INTEGER, false, &r.number},
      {"insecure", VOUCHD_BOOLEAN, false, &r.insecure},
      {"timeout", VOUCHD_DURATION, false, &r.timeout},
      {"list", VOUCHD_ANY, false, nullptr},
      {"headers.*", VOUCHD_ANY, false, nullptr},
  });
  if (wrong) return *wrong;
  for (const Act &act : acts)
    if (act.name == view(r.what)) return act.act(r);
  return Report::error("parameter `do`: found `" + r.label() + "`");
}

}  // namespace

VOUCHD_CHECK_CPP(check)
