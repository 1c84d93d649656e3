/// Behaves as the parameter `do` says, for sdk/conformance: behaviours.py there says what each must show.
#include "../vouchd_check.h"

typedef struct {
  const vouchd_context *context;
  vouchd_text what, text, address, path, url, name;
  int64_t number;
  bool insecure;
  uint32_t timeout;
} run;

typedef vouchd_result act(const run *r);

// ---- Reports and errors ----

static vouchd_result say(vouchd_verdict verdict, const run *r) {
  if (r->text.data == NULL) return vouchd_error("parameter `text` is missing");
  return vouchd_say(verdict, "%.*s", VOUCHD_ARG(r->text));
}

static vouchd_result pass(const run *r) { return say(VOUCHD_PASS, r); }
static vouchd_result warn(const run *r) { return say(VOUCHD_WARN, r); }
static vouchd_result fail(const run *r) { return say(VOUCHD_FAIL, r); }
static vouchd_result fault(const run *r) { return say(VOUCHD_FAULT, r); }
static vouchd_result error(const run *r) { return vouchd_error("%.*s", VOUCHD_ARG(r->text)); }
static vouchd_result panics(const run *r) { vouchd_panic("%.*s", VOUCHD_ARG(r->text)); }

static vouchd_result adjust(const run *r) {
  vouchd_result result = vouchd_say(VOUCHD_PASS, "adjusted");
  vouchd_adjust(&result, (int16_t)r->number);
  return result;
}

static vouchd_result metrics(const run *r) {
  (void)r;
  vouchd_result result = vouchd_say(VOUCHD_PASS, "measured");
  vouchd_add_metric(&result, "seconds", 0.25, "s");
  vouchd_add_metric(&result, "size", 1 << 20, "B");
  vouchd_add_metric(&result, "share", 99.5, "%");
  vouchd_add_metric(&result, "count", 3, "c");
  vouchd_add_metric(&result, "plain", -1.5, "");
  vouchd_add_metric(&result, "größe", 1, "");
  return result;
}

static vouchd_result nan_(const run *r) {
  (void)r;
  vouchd_result result = vouchd_say(VOUCHD_PASS, "measured");
  vouchd_add_metric(&result, "nan", __builtin_nan(""), "");
  vouchd_add_metric(&result, "inf", __builtin_inf(), "");
  vouchd_add_metric(&result, "fine", 1, "");
  return result;
}

// ---- Parameters, memo, log ----

static vouchd_result length(const run *r) { return vouchd_say(VOUCHD_PASS, "%zu bytes", r->text.len); }

static vouchd_result params(const run *r) {
  vouchd_buffer all = {NULL, 0, 0};
  for (size_t i = 1; i < r->context->params_len; i++) {
    const vouchd_param_entry *param = &r->context->params[i];
    vouchd_text pair = vouchd_format("%s%.*s=%.*s", i == 1 ? "" : " ", VOUCHD_ARG(param->key), VOUCHD_ARG(param->value));
    vouchd_append(&all, pair.data, pair.len);
  }
  return vouchd_say(VOUCHD_PASS, "%.*s", VOUCHD_ARG(all));
}

static vouchd_result context(const run *r) {
  return vouchd_say(VOUCHD_PASS, "%.*s %u", VOUCHD_ARG(r->context->name), r->context->budget_ms);
}

static vouchd_result count(const run *r) {
  (void)r;
  uint32_t runs = 0;
  vouchd_text memo = vouchd_recall();
  if (memo.len == sizeof runs) memcpy(&runs, memo.data, sizeof runs);
  runs++;
  vouchd_remember(&runs, sizeof runs);
  vouchd_result result = vouchd_say(VOUCHD_PASS, "counted");
  vouchd_add_metric(&result, "runs", runs, "c");
  return result;
}

static vouchd_result bytes(const run *r) {
  (void)r;
  char all[256];
  for (size_t i = 0; i < sizeof all; i++) all[i] = (char)i;
  vouchd_text memo = vouchd_recall(), expected = {all, sizeof all};
  vouchd_remember(all, sizeof all);
  if (memo.len > 0 && !vouchd_equal(memo, expected)) return vouchd_say(VOUCHD_FAIL, "%zu others", memo.len);
  return vouchd_say(VOUCHD_PASS, "%zu bytes came back", memo.len);
}

static vouchd_result remember(const run *r) {
  vouchd_remember(calloc((size_t)r->number, 1), (size_t)r->number);
  return vouchd_say(VOUCHD_PASS, "remembers");
}

static vouchd_result logs(const run *r) {
  for (int level = VOUCHD_LOG_DEBUG; level <= VOUCHD_LOG_ERROR; level++) vouchd_log((vouchd_level)level, r->text);
  return vouchd_say(VOUCHD_PASS, "said");
}

static vouchd_result flood(const run *r) {
  (void)r;
  for (int i = 0; i < 1000; i++) vouchd_log(VOUCHD_LOG_INFO, vouchd_format("line %d", i));
  return vouchd_say(VOUCHD_PASS, "said");
}

static vouchd_result env(const run *r) {
  const char *value = getenv(vouchd_format("%.*s%c", VOUCHD_ARG(r->name), 0).data);
  return vouchd_say(VOUCHD_PASS, "%s", value ? value : "");
}

// ---- Probes ----

static vouchd_result process(const run *r) {
  vouchd_process_query query = {.name = &r->name};
  vouchd_processes found;
  vouchd_probe_error error;
  if (!vouchd_process_find(&query, &found, &error)) return vouchd_or_fail(&error, r->what);
  if (found.len == 0) return vouchd_say(VOUCHD_FAIL, "none");
  const vouchd_process *first = found.list;
  vouchd_result result = vouchd_say(VOUCHD_PASS, "%zu: %u %.*s", found.len, first->pid, VOUCHD_ARG(first->name));
  vouchd_add_metric(&result, "age", (double)first->age_ms / 1000, "s");
  return result;
}

static vouchd_result tcp(const run *r) {
  vouchd_text newline = vouchd_str("\n");
  vouchd_tcp_request request = {
      .address = r->address,
      .send = vouchd_format("%.*s\n", VOUCHD_ARG(r->text)),
      .until = &newline,
      .max_bytes = 100000,
      .timeout_ms = r->timeout,
  };
  vouchd_tcp_reply reply;
  vouchd_probe_error error;
  if (!vouchd_tcp_probe(&request, &reply, &error)) return vouchd_or_fail(&error, r->what);
  vouchd_result result = vouchd_say(VOUCHD_PASS, "%zu bytes: %.*s", reply.data.len, VOUCHD_ARG(reply.data));
  vouchd_add_metric(&result, "connect", (double)reply.connect_us / 1e6, "s");
  return result;
}

static vouchd_result http(const run *r) {
  vouchd_http_request request = vouchd_get(r->url, r->timeout);
  vouchd_header question = {vouchd_str("x-question"), vouchd_str("why")};
  request.method = vouchd_str("POST");
  request.headers = &question;
  request.headers_len = 1;
  request.body = r->text;
  request.tls_verify = !r->insecure;
  vouchd_http_response response;
  vouchd_probe_error error;
  if (!vouchd_http_fetch(&request, &response, &error)) return vouchd_or_fail(&error, r->what);
  vouchd_text answer = vouchd_str("");
  for (size_t i = 0; i < response.headers_len; i++)
    if (vouchd_equal(response.headers[i].name, vouchd_str("x-answer"))) answer = response.headers[i].value;
  vouchd_result result =
      vouchd_say(VOUCHD_PASS, "%u %.*s %.*s", response.status, VOUCHD_ARG(answer), VOUCHD_ARG(response.body));
  vouchd_add_metric(&result, "total", (double)response.total_us / 1e6, "s");
  return result;
}

static vouchd_result stat(const run *r) {
  static const char *const kinds[] = {"file", "directory", "other"};
  vouchd_stat_reply found;
  vouchd_probe_error error;
  if (!vouchd_stat(r->path, &found, &error)) return vouchd_or_fail(&error, r->what);
  if (!found.exists) return vouchd_say(VOUCHD_WARN, "no such file");
  vouchd_result result = vouchd_say(VOUCHD_PASS, "%s", kinds[found.info.kind]);
  vouchd_add_metric(&result, "size", (double)found.info.size, "B");
  vouchd_add_metric(&result, "age", (double)found.info.age_ms / 1000, "s");
  return result;
}

static vouchd_result reads(const run *r) {
  vouchd_read_reply found;
  vouchd_probe_error error;
  if (!vouchd_read(r->path, (uint32_t)r->number, &found, &error)) return vouchd_or_fail(&error, r->what);
  if (!found.exists) return vouchd_say(VOUCHD_WARN, "no such file");
  vouchd_text begin = {found.data.data, found.data.len < 20 ? found.data.len : 20};
  return vouchd_say(VOUCHD_PASS, "%zu bytes: %.*s", found.data.len, VOUCHD_ARG(begin));
}

static vouchd_result space(const run *r) {
  vouchd_space_reply found;
  vouchd_probe_error error;
  if (!vouchd_space(r->path, &found, &error)) return vouchd_or_fail(&error, r->what);
  bool fits = found.total >= found.available && found.inodes >= found.inodes_available;
  vouchd_result result = vouchd_say(VOUCHD_PASS, "%s", fits ? "true" : "false");
  vouchd_add_metric(&result, "total", (double)found.total, "B");
  return result;
}

static vouchd_result resolve(const run *r) {
  vouchd_texts found;
  vouchd_probe_error error;
  if (!vouchd_resolve(r->name, r->timeout, &found, &error)) return vouchd_or_fail(&error, r->what);
  return vouchd_say(VOUCHD_PASS, "%.*s of %zu", VOUCHD_ARG(found.list[0]), found.len);
}

static vouchd_result links(const run *r) {
  vouchd_links_reply found;
  vouchd_probe_error error;
  if (!vouchd_links(&found, &error)) return vouchd_or_fail(&error, r->what);
  for (size_t i = 0; i < found.len; i++) {
    const vouchd_link *link = &found.list[i];
    if (!vouchd_equal(link->name, r->name)) continue;
    return vouchd_say(VOUCHD_PASS, "%.*s up=%s carrier=%s", VOUCHD_ARG(link->name), link->up ? "true" : "false",
                      link->carrier ? "true" : "false");
  }
  return vouchd_say(VOUCHD_FAIL, "no such link");
}

static vouchd_result addresses(const run *r) {
  vouchd_addresses_reply found;
  vouchd_probe_error error;
  if (!vouchd_addresses(&found, &error)) return vouchd_or_fail(&error, r->what);
  for (size_t i = 0; i < found.len; i++) {
    const vouchd_address *own = &found.list[i];
    if (vouchd_equal(own->ip, r->address))
      return vouchd_say(VOUCHD_PASS, "%.*s %.*s/%u", VOUCHD_ARG(own->link), VOUCHD_ARG(own->ip), own->prefix);
  }
  return vouchd_say(VOUCHD_FAIL, "no such address");
}

static bool connects(const run *r, vouchd_connection *peer, vouchd_probe_error *error) {
  return r->path.len ? vouchd_connect_unix(r->path, r->timeout, peer, error)
                     : vouchd_connect_tcp(r->address, r->timeout, peer, error);
}

/// The next line, without its end.
static bool line(vouchd_connection peer, uint32_t timeout, vouchd_text *text, vouchd_probe_error *error) {
  vouchd_text end = vouchd_str("\r\n");
  if (!vouchd_receive(peer, &end, 100000, timeout, text, error)) return false;
  if (text->len >= 2) text->len -= 2;
  return true;
}

static vouchd_result talk(const run *r) {
  vouchd_connection peer;
  vouchd_probe_error error;
  vouchd_text said[3];
  bool worked = connects(r, &peer, &error) && line(peer, r->timeout, &said[0], &error) &&
                line(peer, r->timeout, &said[1], &error) &&
                vouchd_send(peer, vouchd_format("SAY %.*s\r\n", VOUCHD_ARG(r->text)), &error) &&
                line(peer, r->timeout, &said[2], &error);
  if (!worked) return vouchd_or_fail(&error, r->what);
  vouchd_close(peer);
  return vouchd_say(VOUCHD_PASS, "%.*s|%.*s|%.*s", VOUCHD_ARG(said[0]), VOUCHD_ARG(said[1]), VOUCHD_ARG(said[2]));
}

static vouchd_result starttls(const run *r) {
  vouchd_connection peer;
  vouchd_probe_error error;
  vouchd_text said;
  vouchd_certificate shown;
  bool worked = connects(r, &peer, &error) && vouchd_send(peer, vouchd_str("STARTTLS\r\n"), &error) &&
                line(peer, 0, &said, &error) && vouchd_start_tls(peer, r->name, !r->insecure, 0, &shown, &error) &&
                vouchd_send(peer, vouchd_format("SAY %.*s\r\n", VOUCHD_ARG(r->text)), &error) &&
                line(peer, 0, &said, &error);
  if (!worked) return vouchd_or_fail(&error, r->what);
  vouchd_close(peer);
  if (shown.has_problem) vouchd_log(VOUCHD_LOG_INFO, shown.problem);
  vouchd_buffer names = {NULL, 0, 0};
  for (size_t i = 0; i < shown.names.len; i++) {
    vouchd_append(&names, ",", i == 0 ? 0 : 1);
    vouchd_append(&names, shown.names.list[i].data, shown.names.list[i].len);
  }
  vouchd_result result =
      vouchd_say(VOUCHD_PASS, "%.*s %.*s %.*s %.*s %.*s", VOUCHD_ARG(shown.protocol), VOUCHD_ARG(shown.subject),
                 VOUCHD_ARG(shown.issuer), VOUCHD_ARG(names), VOUCHD_ARG(said));
  vouchd_add_metric(&result, "days", (double)(shown.not_after - shown.not_before) / 86400, "");
  return result;
}

static vouchd_result open_connections(const run *r, bool closes) {
  for (int64_t i = 0; i < r->number; i++) {
    vouchd_connection peer;
    vouchd_probe_error error;
    if (!connects(r, &peer, &error)) return vouchd_or_fail(&error, r->what);
    if (closes) vouchd_close(peer);
  }
  return vouchd_say(VOUCHD_PASS, "%d connections", (int)r->number);
}

static vouchd_result many(const run *r) { return open_connections(r, true); }
static vouchd_result hoard(const run *r) { return open_connections(r, false); }

static vouchd_result clock(const run *r) {
  (void)r;
  return vouchd_say(VOUCHD_PASS, "%llu", (unsigned long long)vouchd_now());
}

// ---- What a plugin can't get out of ----

static vouchd_result loop(const run *r) {
  (void)r;
  for (volatile int i = 0;; i++) {
  }
}

static vouchd_result memory(const run *r) {
  for (;;) {
    char *data = (char *)malloc(1 << 20);
    if (data == NULL) return vouchd_error("out of memory");
    memset(data, (int)r->number, 1 << 20);
    __asm__ volatile("" ::"r"(data) : "memory");
  }
}

__attribute__((noinline)) static int64_t deeper(volatile int64_t n) {
  return n < 0 ? 0 : deeper(n + 1) + n;
}

static vouchd_result recurse(const run *r) { return vouchd_say(VOUCHD_PASS, "%lld", (long long)deeper(r->number)); }

static const struct {
  const char *name;
  act *act;
} acts[] = {
    {"pass", pass},           {"warn", warn},         {"fail", fail},
    {"fault", fault},         {"error", error},       {"panic", panics},
    {"adjust", adjust},       {"metrics", metrics},   {"nan", nan_},
    {"length", length},       {"params", params},     {"context", context},
    {"count", count},         {"bytes", bytes},       {"remember", remember},
    {"log", logs},            {"flood", flood},       {"env", env},
    {"process", process},     {"tcp", tcp},           {"http", http},
    {"stat", stat},           {"read", reads},        {"space", space},
    {"resolve", resolve},     {"links", links},       {"addresses", addresses},
    {"talk", talk},           {"starttls", starttls}, {"many", many},
    {"hoard", hoard},         {"clock", clock},       {"loop", loop},
    {"memory", memory},       {"recurse", recurse},
};

static vouchd_result check(const vouchd_context *context) {
  run r;
  memset(&r, 0, sizeof r);
  r.context = context;
  const vouchd_field fields[] = {
      {"do", VOUCHD_TEXT, true, &r.what},
      {"text", VOUCHD_TEXT, false, &r.text},
      {"address", VOUCHD_TEXT, false, &r.address},
      {"path", VOUCHD_TEXT, false, &r.path},
      {"url", VOUCHD_TEXT, false, &r.url},
      {"name", VOUCHD_TEXT, false, &r.name},
      {"number", VOUCHD_INTEGER, false, &r.number},
      {"insecure", VOUCHD_BOOLEAN, false, &r.insecure},
      {"timeout", VOUCHD_DURATION, false, &r.timeout},
      {"list", VOUCHD_ANY, false, NULL},
      {"headers.*", VOUCHD_ANY, false, NULL},
  };
  vouchd_result wrong;
  if (!vouchd_decode(context, fields, sizeof fields / sizeof *fields, &wrong)) return wrong;
  for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
    if (vouchd_equal(r.what, vouchd_str(acts[i].name))) return acts[i].act(&r);
  return vouchd_error("parameter `do`: found `%.*s`", VOUCHD_ARG(r.what));
}

VOUCHD_CHECK(check)
