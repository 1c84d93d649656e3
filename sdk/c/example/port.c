/// Does a port accept connections?
///
/// Parameters: `address` (`host:port`), `label` (its name in messages; default: the address).
#include "../vouchd_check.h"

/// Counts the runs, this one included.
static uint32_t count_run(void) {
  uint32_t runs = 0;
  vouchd_text memo = vouchd_recall();
  if (memo.len == sizeof runs) memcpy(&runs, memo.data, sizeof runs);
  runs++;
  vouchd_remember(&runs, sizeof runs);
  return runs;
}

static vouchd_result check(const vouchd_context *context) {
  vouchd_text address, label = {NULL, 0};
  const vouchd_field fields[] = {
      {"address", VOUCHD_TEXT, true, &address},
      {"label", VOUCHD_TEXT, false, &label},
  };
  vouchd_result wrong;
  if (!vouchd_decode(context, fields, 2, &wrong)) return wrong;
  if (label.data == NULL) label = address;

  vouchd_tcp_request request = {.address = address};
  vouchd_tcp_reply reply;
  vouchd_probe_error error;
  vouchd_result result;
  if (vouchd_tcp_probe(&request, &reply, &error)) {
    result = vouchd_say(VOUCHD_PASS, "%.*s accepts connections", VOUCHD_ARG(label));
    vouchd_add_metric(&result, "connect", (double)reply.connect_us / 1e6, "s");
  } else {
    result = vouchd_or_fail(&error, label);
  }
  vouchd_add_metric(&result, "runs", count_run(), "c");
  return result;
}

VOUCHD_CHECK(check)
