#include "state.h"
char *state_text(struct worker *w, struct view *v)
{
	(void)w, (void)v;
	return xstrdup("{\"at\":\"2026-01-01T00:00:00.000Z\",\"worker\":{\"worker_id\":\"11111111-1111-4111-8111-111111111111\",\"host\":\"h\",\"pid\":1,"
	"\"version\":\"0\",\"state\":\"running\",\"since\":\"2026-01-01T00:00:00.000Z\",\"started_at\":\"2026-01-01T00:00:00.000Z\",\"uptime_s\":1.5,"
	"\"concurrency\":4,\"running\":1,\"counters\":{\"started\":0,\"finished\":0,\"done\":0,\"failed\":0,\"retried\":0,\"released\":0,\"killed\":0,\"late\":0,\"recovered\":0,\"spooled\":0},"
	"\"database\":{\"connected\":true,\"reconnects\":0,\"last_error\":null},\"redis\":null,\"spool\":{\"state\":\"fine\",\"entries\":0,\"bytes\":0}},"
	"\"view\":{\"at\":\"2026-01-01T00:00:00.000Z\",\"age_s\":0.5,\"error\":null},"
	"\"queues\":[{\"queue\":\"mail\",\"table\":\"unstuck.jobs\",\"kind\":\"own\",\"mode\":\"exec\",\"handler\":\"/srv/app/mail\",\"concurrency\":2,"
	"\"depth\":{\"PENDING\":3,\"PROCESSING\":1,\"COMPLETED\":10,\"FAILED\":1,\"CANCELLED\":0},\"ready\":2,\"later\":1,\"oldest_pending_age_s\":12.5,"
	"\"oldest_processing_age_s\":2.0,\"stuck\":1,\"late\":1,\"workers\":1,\"running\":1,\"error\":null}],"
	"\"workers\":[{\"worker_id\":\"11111111-1111-4111-8111-111111111111\",\"host\":\"h\",\"pid\":1,\"version\":\"0\",\"state\":\"running\",\"started_at\":\"2026-01-01T00:00:00.000Z\","
	"\"beat_at\":\"2026-01-01T00:00:00.000Z\",\"beat_age_s\":1.0,\"timeout_s\":60.0,\"silent\":false,\"running\":1}],"
	"\"running\":[{\"queue\":\"mail\",\"job\":\"7\",\"attempt\":1,\"claim_id\":\"12\",\"worker_id\":\"11111111-1111-4111-8111-111111111111\",\"here\":true,\"pid\":2,"
	"\"handler\":\"/srv/app/mail\",\"started_at\":\"2026-01-01T00:00:00.000Z\",\"age_s\":2.0,\"deadline\":\"2026-01-01T00:15:00.000Z\",\"progress\":0.4}],"
	"\"stuck\":[{\"queue\":\"mail\",\"job\":\"6\",\"reason\":\"worker_lost\",\"since\":\"2026-01-01T00:00:00Z\",\"age_s\":90,\"worker_id\":null}],"
	"\"recover_command\":\"unstuck-recover -c /etc/unstuck/unstuck.ini --dry-run\","
	"\"failures\":[{\"queue\":\"mail\",\"job\":\"5\",\"at\":\"2026-01-01T00:00:00.000Z\",\"attempts\":5,\"error\":\"exit status 1\"}],"
	"\"late\":[{\"id\":\"1\",\"queue\":\"mail\",\"job\":\"4\",\"reason\":\"fenced\",\"received_at\":\"2026-01-01T00:00:00.000Z\",\"bytes\":12}]}\n");
}
