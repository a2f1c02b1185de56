#include "ctl.h"
enum exit_status top_run(struct ctl *ctl)
{
	return ctl_fail(ctl, ERR_USAGE, "not yet");
}
