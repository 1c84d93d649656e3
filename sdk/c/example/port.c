/// Does a port accept connections?
///
/// Parameters: `address` (`host:port`), `label` (what the operator calls it; default: the address).
#include "../vouchd_check.h"

static const char *const PARAMS[] = {"address", "label", NULL};

/// Runs so far, this one included.
static uint32_t count_run(void) {
  uint32_t runs = 0;
  vouchd_text memo = vouchd_recall();
  if (memo.len == sizeof runs) memcpy(&runs, memo.data, sizeof runs);
  runs++;
  vouchd_remember(&runs, sizeof runs);
  return runs;
}

static vouchd_result check(const vouchd_context *context) {
  const vouchd_text *unknown = vouchd_unknown_param(context, PARAMS);
  if (unknown) return vouchd_error("unknown parameter `%.*s`: expected address, label", VOUCHD_ARG(*unknown));
  const vouchd_text *address = vouchd_param(context, "address");
  if (address == NULL) return vouchd_error("the parameter `address` is missing: expected host:port");
  const vouchd_text *label = vouchd_param(context, "label");
  if (label == NULL) label = address;

  vouchd_tcp_request request = {.addr = *address, .timeout_ms = context->budget_ms};
  vouchd_tcp_reply reply;
  vouchd_probe_error error;
  vouchd_result result;
  if (vouchd_tcp_probe(&request, &reply, &error)) {
    result = vouchd_say(VOUCHD_PASS, "%.*s accepts connections", VOUCHD_ARG(*label));
    vouchd_add_metric(&result, "connect", (double)reply.connect_us / 1e6, "s");
  } else {
    result = vouchd_or_fail(&error, *label);
  }
  vouchd_add_metric(&result, "runs", count_run(), "c");
  return result;
}

VOUCHD_CHECK(check)
