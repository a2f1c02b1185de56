/*
 * test_spool.c - the spool: what was acknowledged is there, whatever happens to the process or to the files.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "crc32c.h"
#include "spool.h"
#include "spool_dir.h"
#include "spool_read.h"
#include "spool_walk.h"
#include "story.h"

#define W "11111111-1111-4111-8111-111111111111"

/* ---- what a test sees of a spool ---- */

static struct watch {
	uint64_t sealed;
	enum spool_health health;
	int changes;
	char text[1200];
} seen_;

static void on_sealed(void *arg, uint64_t upto)
{
	struct watch *w = arg;

	ck_assert_uint_gt(upto, w->sealed);
	w->sealed = upto;
}

static void on_changed(void *arg, enum spool_health health, const char *text)
{
	struct watch *w = arg;

	ck_assert_int_ne(health, w->health);
	w->health = health;
	w->changes++;
	snprintf(w->text, sizeof w->text, "%s", text != NULL ? text : "");
}

static struct spool *open_spool(const char *dir, const struct spool_io *io, uint64_t reserve)
{
	const struct spool_options o = {
		.dir = dir, .reserve = reserve, .sealed = on_sealed, .changed = on_changed, .arg = &seen_, .io = io,
	};
	struct error err = ERROR_INIT;
	struct spool *s;

	seen_ = (struct watch){ 0 };
	s = spool_open(&o, &err);
	if (s == NULL)
		story_fail("%s", err.text);
	return s;
}

static struct spool *must_open(void)
{
	return open_spool(test_path("spool"), NULL, 0);
}

static struct spool_record record_of(const char *job, const char *bytes)
{
	return (struct spool_record){
		.kind = SPOOL_DONE, .started = true, .source = "unstuck.jobs", .queue = "q", .job_id = job, .claim_id = 7,
		.worker_id = W, .attempt = 1, .at = 1, .bytes = bytes, .bytes_len = strlen(bytes),
	};
}

static uint64_t seal(struct spool *s, const char *job, const char *bytes)
{
	struct spool_record r = record_of(job, bytes);

	return spool_seal(s, &r);
}

static void must_flush(struct spool *s)
{
	struct error err = ERROR_INIT;

	if (spool_flush(s, &err) < 0)
		story_fail("%s", err.text);
}

/* As a loop does it: until all is sealed. */
static void turn_until_sealed(struct spool *s, uint64_t entry)
{
	struct pollfd p = { .fd = spool_fd(s), .events = POLLIN };
	uint64_t until = story_until(20000);

	while (spool_sealed(s) < entry) {
		spool_advance(s, clock_now());
		if (spool_sealed(s) >= entry)
			break;
		poll(&p, 1, 20);
		if (!story_wait(until))
			story_fail("entry %llu is not sealed", (unsigned long long)entry);
	}
}

/* ---- what is in the files ---- */

struct found {
	struct buf jobs;	/* "kind:job=bytes;" of every record, in order */
	size_t records, outputs, damages, torn;
	struct buf output;	/* the last one's bytes */
	char output_job[64];
	bool ended;
};

static void found_record(void *arg, const struct spool_record *r, uint64_t offset)
{
	struct found *f = arg;

	(void)offset;
	buf_addf(&f->jobs, "%s:%s=%.*s;", spool_kind_name(r->kind), r->job_id, (int)r->bytes_len, r->bytes);
	f->records++;
}

static void found_output(void *arg, const struct spool_record *head, int fd, uint64_t offset, uint64_t bytes)
{
	struct found *f = arg;
	struct error err = ERROR_INIT;

	f->outputs++;
	snprintf(f->output_job, sizeof f->output_job, "%s", head->job_id);
	f->ended = head->ended;
	buf_clear(&f->output);
	ck_assert_int_eq(spool_read_bytes(&f->output, fd, offset, bytes, &err), 0);
}

static void found_damage(void *arg, const struct spool_damage *d)
{
	struct found *f = arg;

	ck_assert_uint_gt(d->bytes, 0);
	f->damages++;
	f->torn += d->torn;
}

static void find_in_file(struct found *f, int dir, const char *name, uint32_t seed)
{
	const struct spool_reader reader = { found_record, found_output, found_damage, f };
	struct error err = ERROR_INIT;
	int fd = spool_file_open(dir, name, O_RDONLY);

	ck_assert_int_ge(fd, 0);
	if (strncmp(name, "out.", 4) != 0 || !spool_output_free(fd))
		ck_assert_int_eq(spool_read(&reader, fd, seed, &err), 0);
	close(fd);
}

static void find_in_instance(struct found *f, const struct spool_instance *in)
{
	static const char *const kinds[] = { "segment.", "out." };

	for (int k = 0; k < 2; k++) {
		struct spool_names names;

		ck_assert_int_eq(spool_names_read(&names, in->dir, kinds[k], NULL), 0);
		for (size_t i = 0; i < names.len; i++)
			find_in_file(f, in->dir, names.v[i], spool_seed(in->name));
		spool_names_release(&names);
	}
}

/* All instances below a directory. */
static struct found *find_all(const char *path)
{
	struct found *f = story_memory(sizeof *f);
	struct error err = ERROR_INIT;
	struct spool_names names;
	int base = spool_base_open(path, false, NULL, &err);

	ck_assert_int_ge(base, 0);
	ck_assert_int_eq(spool_names_read(&names, base, "", &err), 0);
	for (size_t i = 0; i < names.len; i++) {
		struct spool_instance in;

		if (spool_instance_open(&in, base, names.v[i], &err) < 0)
			continue;
		find_in_instance(f, &in);
		spool_instance_close(&in);
	}
	spool_names_release(&names);
	close(base);
	return f;
}

static const char *all_jobs(void)
{
	struct found *f = find_all(test_path("spool"));
	char *text = story_text("%s", buf_text(&f->jobs));

	buf_release(&f->jobs);
	buf_release(&f->output);
	return text;
}

/* Output files that still say whose they are. */
static size_t outputs_named(void)
{
	struct found *f = find_all(test_path("spool"));

	buf_release(&f->jobs);
	buf_release(&f->output);
	return f->outputs;
}

static size_t files_in(const char *path, off_t *bytes)
{
	DIR *d = opendir(path);
	struct dirent *e;
	struct stat st;
	size_t n = 0;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
			n++;
			if (bytes != NULL)
				*bytes += st.st_size;
		}
	closedir(d);
	return n;
}

static const char *instance_path(const struct spool *s)
{
	return story_text("%s/%s", test_path("spool"), spool_instance(s));
}

static size_t descriptors(void)
{
	return files_in("/proc/self/fd", NULL);
}

/* ---- the format ---- */

START_TEST(the_sum_is_crc32c)
{
	char long_text[1000];

	memset(long_text, 'x', sizeof long_text);
	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283u);
	ck_assert_uint_eq(crc32c(0, "", 0), 0);
	for (size_t cut = 0; cut < 20; cut++)
		ck_assert_uint_eq(crc32c(crc32c(0, long_text, cut), long_text + cut, 1000 - cut), crc32c(0, long_text, 1000));
}
END_TEST

START_TEST(a_record_comes_back_as_it_was)
{
	static const char bytes[] = "{\"a\":\0\xff\n1}";
	const struct spool_record r = {
		.kind = SPOOL_LATER, .started = true, .text = true, .source = "public.\"a b\"", .queue = "q \xc3\xbc", .job_id = "k;1",
		.claim_id = INT64_MAX, .worker_id = W, .attempt = 4000000000u, .error = "", .reason = "too_large",
		.delay = USEC_LONGEST, .at = 123456789, .bytes = bytes, .bytes_len = sizeof bytes - 1,
	};
	struct spool_record back;
	struct buf b = BUF_INIT;
	size_t texts, len;

	spool_encode(&b, &r, 5);
	ck_assert_int_eq(spool_decode_head(b.data, 5, &back, &texts, &len), SPOOL_HEAD_OK);
	ck_assert_uint_eq(SPOOL_HEAD + texts + len, b.len);
	ck_assert(spool_decode_body(&back, b.data, b.data + SPOOL_HEAD, texts, len, 5));
	ck_assert_int_eq(back.kind, r.kind);
	ck_assert(back.started && back.text);
	ck_assert_str_eq(back.source, r.source);
	ck_assert_str_eq(back.queue, r.queue);
	ck_assert_str_eq(back.job_id, r.job_id);
	ck_assert_str_eq(back.worker_id, W);
	ck_assert_int_eq(back.claim_id, r.claim_id);
	ck_assert_uint_eq(back.attempt, r.attempt);
	ck_assert_str_eq(back.error, "");
	ck_assert_str_eq(back.reason, "too_large");
	ck_assert_uint_eq(back.delay, r.delay);
	ck_assert_uint_eq(back.at, r.at);
	ck_assert_uint_eq(back.bytes_len, r.bytes_len);
	ck_assert_mem_eq(back.bytes, bytes, r.bytes_len);
	/* under another name of the instance it is nothing */
	ck_assert_int_eq(spool_decode_head(b.data, 6, &back, &texts, &len), SPOOL_HEAD_BAD);
	buf_release(&b);
}
END_TEST

/* So the head of the next job lies exactly over that of the last one, and a file that nothing was printed into need not be cut. */
START_TEST(an_output_begins_at_a_whole_unit)
{
	static const char *const jobs[] = { "1", "a job with a long name" };

	for (int i = 0; i < 4; i++) {
		struct spool_record r = record_of(jobs[i % 2], ""), back;
		struct buf b = BUF_INIT;
		size_t texts, len, end = i / 2 * (size_t)SPOOL_HEAD;

		r.kind = SPOOL_OUTPUT;
		r.attended = i / 2;
		spool_encode(&b, &r, 5);
		ck_assert_uint_eq(b.len + end, SPOOL_OUTPUT_UNIT);
		ck_assert_int_eq(spool_decode_head(b.data, 5, &back, &texts, &len), SPOOL_HEAD_OK);
		ck_assert(spool_decode_body(&back, b.data, b.data + SPOOL_HEAD, texts, len, 5));
		ck_assert_str_eq(back.job_id, jobs[i % 2]);
		ck_assert(back.reason == NULL && back.error == NULL);
		buf_release(&b);
	}
}
END_TEST

/* Three records as one text, with where each of them ends. */
static struct buf three_records(size_t ends[3])
{
	static const char *const jobs[] = { "1", "22", "333" };
	struct buf b = BUF_INIT;

	for (int i = 0; i < 3; i++) {
		struct spool_record r = record_of(jobs[i], i == 1 ? "{\"b\": [1, 2]}" : "null");

		spool_encode(&b, &r, 9);
		ends[i] = b.len;
	}
	return b;
}

static struct found read_text(const char *data, size_t len)
{
	struct found f = { .records = 0 };
	int fd = memfd_create("records", MFD_CLOEXEC);
	const struct spool_reader reader = { found_record, found_output, found_damage, &f };
	struct error err = ERROR_INIT;

	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	ck_assert_int_eq(spool_read(&reader, fd, 9, &err), 0);
	close(fd);
	return f;
}

#define ONE "done:1=null;"
#define TWO "done:22={\"b\": [1, 2]};"
#define THREE "done:333=null;"

START_TEST(a_torn_tail_costs_what_it_tore)
{
	static const char *const expected[] = { "", ONE, ONE TWO, ONE TWO THREE };
	size_t ends[3];
	struct buf b = three_records(ends);

	for (size_t len = 0; len <= b.len; len++) {
		struct found f = read_text(b.data, len);
		size_t whole = (size_t)(len >= ends[0]) + (len >= ends[1]) + (len >= ends[2]);
		bool at_end = len == 0 || (whole > 0 && len == ends[whole - 1]);

		ck_assert_str_eq(buf_text(&f.jobs), expected[whole]);
		ck_assert_uint_eq(f.damages, at_end ? 0 : 1);
		ck_assert_uint_eq(f.torn, f.damages);
		buf_release(&f.jobs);
	}
	buf_release(&b);
}
END_TEST

START_TEST(a_wrong_byte_costs_the_record_it_is_in)
{
	static const char *const without[] = { TWO THREE, ONE THREE, ONE TWO };
	size_t ends[3];
	struct buf b = three_records(ends);

	for (size_t i = 0; i < b.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			size_t in = (size_t)(i >= ends[0]) + (i >= ends[1]);
			struct found f;

			b.data[i] = (char)(b.data[i] ^ 1 << bit);
			f = read_text(b.data, b.len);
			b.data[i] = (char)(b.data[i] ^ 1 << bit);
			ck_assert_str_eq(buf_text(&f.jobs), without[in]);
			ck_assert_uint_eq(f.damages, 1);
			ck_assert_uint_eq(f.torn, 0);
			buf_release(&f.jobs);
		}
	buf_release(&b);
}
END_TEST

START_TEST(reading_goes_on_behind_garbage)
{
	size_t ends[3];
	struct buf b = three_records(ends), all = BUF_INIT;
	struct found f;

	for (int i = 0; i < 200000; i++)
		buf_adds(&all, i % 7 == 0 ? SPOOL_MAGIC : "rubbish");
	buf_add(&all, b.data, ends[0]);
	buf_adds(&all, "\x89UNSTK");
	buf_add(&all, b.data + ends[0], b.len - ends[0]);
	f = read_text(all.data, all.len);
	ck_assert_str_eq(buf_text(&f.jobs), ONE TWO THREE);
	ck_assert_uint_eq(f.damages, 2);
	buf_release(&f.jobs);
	/* zeros at the end: what a power cut makes of a write that nobody was told of */
	buf_clear(&all);
	buf_add(&all, b.data, ends[0]);
	for (int i = 0; i < 100000; i++)
		buf_addc(&all, '\0');
	f = read_text(all.data, all.len);
	ck_assert_str_eq(buf_text(&f.jobs), ONE);
	ck_assert_uint_eq(f.torn, 1);
	buf_release(&f.jobs);
	buf_release(&all);
	buf_release(&b);
}
END_TEST

/* A handler that prints what looks like a record; then the real record's head is damaged. */
START_TEST(bytes_of_a_handler_are_never_a_record)
{
	struct spool_record forged = record_of("666", "\"forged\""), outer = record_of("1", "");
	struct buf inner = BUF_INIT, b = BUF_INIT;
	struct found f;

	spool_encode(&inner, &forged, 0);	/* the seed is not to be known */
	outer.bytes = inner.data;
	outer.bytes_len = inner.len;
	spool_encode(&b, &outer, 9);
	b.data[30] ^= 1;
	f = read_text(b.data, b.len);
	ck_assert_uint_eq(f.records, 0);
	ck_assert_uint_eq(f.damages, 1);
	buf_release(&inner);
	buf_release(&b);
}
END_TEST

/* ---- writing ---- */

START_TEST(what_is_sealed_is_in_the_files)
{
	struct spool *s = must_open();

	ck_assert_uint_eq(seal(s, "1", "null"), 1);
	ck_assert_uint_eq(seal(s, "2", "[2]"), 2);
	ck_assert_uint_eq(spool_sealed(s), 0);
	ck_assert_str_eq(all_jobs(), "");
	must_flush(s);
	ck_assert_uint_eq(seen_.sealed, 2);
	seal(s, "3", "3");
	turn_until_sealed(s, 3);
	ck_assert_str_eq(all_jobs(), "done:1=null;done:2=[2];done:3=3;");
	ck_assert_uint_eq(spool_entries(s), 3);
	ck_assert_uint_eq(spool_close(s), 3);
	ck_assert_str_eq(all_jobs(), "done:1=null;done:2=[2];done:3=3;");
}
END_TEST

START_TEST(a_spool_with_nothing_left_is_gone)
{
	size_t before = descriptors();
	struct spool *s = open_spool(test_path("spool"), NULL, 1 << 20);

	for (uint64_t i = 1; i <= 10; i++)
		seal(s, "1", "null");
	must_flush(s);
	for (uint64_t i = 1; i <= 10; i++)
		spool_done(s, i);
	ck_assert_uint_eq(spool_entries(s), 0);
	ck_assert_uint_eq(spool_close(s), 0);
	ck_assert_uint_eq(files_in(test_path("spool"), NULL), 0);
	ck_assert_uint_eq(descriptors(), before);
}
END_TEST

/* Idle and all done: what lies in the files is nobody's any more. */
START_TEST(a_segment_is_emptied_when_all_in_it_is_done)
{
	struct spool *s = must_open();
	off_t bytes = 0;

	seal(s, "1", "null");
	must_flush(s);
	seal(s, "2", "null");
	spool_done(s, 2);		/* before it is sealed */
	must_flush(s);
	spool_advance(s, clock_now());
	ck_assert_str_eq(all_jobs(), ONE "done:2=null;");
	spool_done(s, 1);
	must_happen((spool_advance(s, clock_now()), spool_bytes(s) == 0), 10000);
	files_in(instance_path(s), &bytes);
	ck_assert_int_eq(bytes, 0);
	ck_assert_uint_eq(seal(s, "3", "3"), 3);
	must_flush(s);
	ck_assert_str_eq(all_jobs(), "done:3=3;");
	spool_done(s, 3);
	spool_close(s);
}
END_TEST

START_TEST(files_do_not_grow_without_bound)
{
	enum { ALL = 100000, AHEAD = 500 };
	struct spool *s = must_open();
	char bytes[600];
	uint64_t done = 0;
	off_t most = 0;

	memset(bytes, '1', sizeof bytes);
	bytes[sizeof bytes - 1] = '\0';
	for (uint64_t i = 1; i <= ALL; i++) {
		seal(s, "12345", bytes);
		if (i % 100 != 0)
			continue;
		must_flush(s);
		while (done + AHEAD < i)
			spool_done(s, ++done);
		if (i % 5000 == 0) {
			off_t now = 0;

			ck_assert_uint_le(files_in(instance_path(s), &now), 8);
			most = now > most ? now : most;
		}
	}
	ck_assert_uint_eq(seen_.sealed, ALL);
	ck_assert_int_lt(most, 32 << 20);
	ck_assert_int_gt(most, 1 << 20);
	while (done < ALL)
		spool_done(s, ++done);
	ck_assert_uint_eq(spool_close(s), 0);
}
END_TEST

/* ---- the disk as a test wants it ---- */

static struct fault {
	int fail_sync, fail_write, fail_open;	/* so many calls from now on fail */
	int error;
	ssize_t short_write;			/* at most so many bytes at once */
	int syncs, failed_fd;
	int gate;				/* syncs wait until a byte can be read here; -1: none */
} fault;

static int faulty_open(int dir, const char *name, int flags, mode_t mode)
{
	if (fault.fail_open > 0) {
		fault.fail_open--;
		errno = fault.error;
		return -1;
	}
	return spool_io_real.open(dir, name, flags, mode);
}

static ssize_t faulty_pwrite(int fd, const void *data, size_t len, off_t at)
{
	if (fault.fail_write > 0) {
		fault.fail_write--;
		errno = fault.error;
		return -1;
	}
	if (fault.short_write > 0 && len > (size_t)fault.short_write)
		len = (size_t)fault.short_write;
	return spool_io_real.pwrite(fd, data, len, at);
}

static int faulty_fdatasync(int fd)
{
	char c;

	if (fault.gate >= 0 && read(fault.gate, &c, 1) < 0)
		return -1;
	fault.syncs++;
	if (fd == fault.failed_fd)
		abort();		/* a second time on a file that may have lost something */
	if (fault.fail_sync > 0) {
		fault.fail_sync--;
		fault.failed_fd = fd;
		errno = fault.error;
		return -1;
	}
	return spool_io_real.fdatasync(fd);
}

static const struct spool_io faulty = { faulty_open, faulty_pwrite, faulty_fdatasync, fsync };

static struct spool *open_faulty(void)
{
	fault = (struct fault){ .failed_fd = -1, .gate = -1 };
	return open_spool(test_path("spool"), &faulty, 0);
}

START_TEST(what_gathers_during_a_sync_goes_in_the_next)
{
	struct spool *s = open_faulty();
	int gate[2];

	ck_assert_int_eq(pipe(gate), 0);
	fault.gate = gate[0];
	seal(s, "1", "null");
	spool_advance(s, clock_now());
	for (int i = 0; i < 1000; i++) {	/* none of this waits for the disk */
		seal(s, "2", "null");
		spool_advance(s, clock_now());
	}
	ck_assert_uint_eq(spool_sealed(s), 0);
	ck_assert_int_eq(write(gate[1], "12", 2), 2);
	turn_until_sealed(s, 1001);
	ck_assert_int_eq(fault.syncs, 2);
	for (uint64_t i = 1; i <= 1001; i++)
		spool_done(s, i);
	spool_close(s);
	close(gate[0]);
	close(gate[1]);
}
END_TEST

/* Who waits for nothing saves syncs; who ends waits for all. */
START_TEST(a_pace_holds_back_the_next_sync)
{
	struct spool *s = must_open();

	spool_set_pace(s, HOUR);
	seal(s, "1", "null");
	turn_until_sealed(s, 1);		/* the first goes at once */
	seal(s, "2", "null");
	for (int i = 0; i < 3; i++) {
		usec_t now = clock_now(), next = spool_advance(s, now);

		ck_assert_uint_gt(next, now + HOUR / 2);
		ck_assert_uint_le(next, now + HOUR);
	}
	ck_assert_uint_eq(spool_sealed(s), 1);
	spool_set_pace(s, 0);
	turn_until_sealed(s, 2);
	spool_set_pace(s, HOUR);
	seal(s, "3", "null");
	turn_until_sealed(s, 3);
	seal(s, "4", "null");
	spool_advance(s, clock_now());
	must_flush(s);
	ck_assert_uint_eq(spool_sealed(s), 4);
	for (uint64_t i = 1; i <= 4; i++)
		spool_done(s, i);
	ck_assert_uint_eq(spool_close(s), 0);
}
END_TEST

START_TEST(a_failing_sync_acknowledges_nothing)
{
	struct spool *s = open_faulty();

	seal(s, "1", "1");
	must_flush(s);
	fault.fail_sync = 1;
	fault.error = EIO;
	seal(s, "2", "2");
	must_happen((spool_advance(s, clock_now()), seen_.changes > 0), 10000);
	ck_assert_uint_eq(seen_.sealed, 1);
	ck_assert_int_eq(seen_.health, SPOOL_BROKEN);
	ck_assert_ptr_nonnull(strstr(seen_.text, "cannot sync "));
	ck_assert_ptr_nonnull(strstr(seen_.text, "segment.0: Input/output error"));
	seal(s, "3", "3");
	turn_until_sealed(s, 3);		/* in another file; see faulty_fdatasync() */
	ck_assert_int_eq(spool_health(s), SPOOL_BROKEN);
	ck_assert_int_eq(seen_.changes, 1);
	spool_done(s, 1);
	spool_done(s, 2);
	spool_done(s, 3);
	ck_assert_uint_eq(spool_close(s), 0);
	ck_assert_uint_eq(files_in(test_path("spool"), NULL), 0);
}
END_TEST

START_TEST(a_full_disk_holds_results_until_there_is_room)
{
	struct spool *s = open_faulty();
	struct error err = ERROR_INIT;

	fault.fail_write = 4;
	fault.error = ENOSPC;
	seal(s, "1", "1");
	ck_assert_int_eq(spool_flush(s, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "No space left on device"));
	ck_assert_ptr_nonnull(strstr(err.text, "free space on that disk"));
	ck_assert_int_eq(seen_.health, SPOOL_FAILING);
	ck_assert_uint_eq(spool_entries(s), 1);
	turn_until_sealed(s, 1);
	ck_assert_int_eq(seen_.health, SPOOL_FINE);
	ck_assert_str_eq(all_jobs(), "done:1=1;");
	fault.fail_open = 2;
	fault.error = EMFILE;
	spool_done(s, 1);
	ck_assert_uint_eq(spool_close(s), 0);
}
END_TEST

START_TEST(short_writes_are_gone_on_with)
{
	struct spool *s = open_faulty();

	fault.short_write = 7;
	seal(s, "1", "null");
	seal(s, "22", "{\"b\": [1, 2]}");
	must_flush(s);
	ck_assert_str_eq(all_jobs(), ONE TWO);
	ck_assert_uint_eq(spool_close(s), 2);
}
END_TEST

/* ---- room, on a real disk that is full ---- */

START_TEST(a_real_full_disk)
{
	const char *dir = test_path("tiny");
	struct error err = ERROR_INIT;
	struct spool *s;
	char *large = story_memory(300001);
	struct found *f;

	mkdir(dir, 0700);
	/* In a mount table of this test's own: nothing of it is left, however the test ends. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700") < 0) {
		printf("skipped: a full disk (cannot mount: %s)\n", strerror(errno));
		return;
	}
	memset(large, '1', 300000);
	s = open_spool(story_text("%s/spool", dir), NULL, 256 * 1024);
	ck_assert_int_eq(spool_health(s), SPOOL_FINE);
	seal(s, "1", large);
	must_flush(s);
	spool_check(s);
	ck_assert_int_eq(spool_health(s), SPOOL_FINE);
	seal(s, "2", large);
	must_flush(s);
	spool_check(s);
	ck_assert_int_eq(seen_.health, SPOOL_LOW);
	ck_assert_ptr_nonnull(strstr(seen_.text, "no job is claimed"));
	seal(s, "3", large);		/* fits only into the reserve */
	must_flush(s);
	ck_assert_uint_eq(seen_.sealed, 3);
	seal(s, "4", large);
	ck_assert_int_eq(spool_flush(s, &err), -1);
	ck_assert_int_eq(seen_.health, SPOOL_FAILING);
	ck_assert_uint_eq(seen_.sealed, 3);
	f = find_all(story_text("%s/spool", dir));
	ck_assert_uint_ge(f->records, 3);
	buf_release(&f->jobs);
	for (uint64_t i = 1; i <= 3; i++)
		spool_done(s, i);
	must_flush(s);
	ck_assert_uint_eq(seen_.sealed, 4);
	spool_done(s, 4);
	must_happen((spool_advance(s, clock_now()), spool_check(s), spool_health(s) == SPOOL_FINE), 10000);
	ck_assert_uint_eq(spool_close(s), 0);
	ck_assert_int_eq(umount2(dir, MNT_DETACH), 0);
}
END_TEST

START_TEST(a_reserve_that_does_not_fit_is_said_once)
{
	struct spool *s = open_spool(test_path("spool"), NULL, (uint64_t)1 << 50);

	for (int i = 0; i < 3; i++) {
		spool_check(s);
		spool_advance(s, clock_now());
	}
	ck_assert_int_eq(seen_.health, SPOOL_LOW);
	ck_assert_int_eq(seen_.changes, 1);
	seal(s, "1", "null");
	must_flush(s);
	ck_assert_uint_gt(spool_room(s), 0);
	ck_assert_uint_eq(spool_close(s), 1);
	ck_assert_str_eq(all_jobs(), ONE);
}
END_TEST

/* ---- the directory ---- */

START_TEST(a_directory_that_disappears_is_made_again)
{
	struct spool *s = must_open();
	struct spool_record r = record_of("9", "");
	struct error err = ERROR_INIT;
	struct spool_out *o;
	struct buf text = BUF_INIT;
	int fd;

	o = spool_out_open(s, &r, &fd, &err);
	ck_assert_ptr_nonnull(o);
	seal(s, "1", "null");
	must_flush(s);
	spool_check(s);
	ck_assert_int_eq(seen_.changes, 0);
	remove_tree(test_path("spool"));
	ck_assert_int_eq(write(fd, "printed", 7), 7);
	spool_check(s);
	ck_assert_int_eq(seen_.changes, 2);	/* told, and well again */
	ck_assert_int_eq(spool_health(s), SPOOL_FINE);
	ck_assert_str_eq(all_jobs(), ONE);
	seal(s, "22", "{\"b\": [1, 2]}");
	must_flush(s);
	ck_assert_str_eq(all_jobs(), ONE TWO);
	ck_assert_int_eq(spool_out_read(o, &text, UINT64_MAX, &err), 0);
	ck_assert_str_eq(buf_text(&text), "printed");
	close(fd);
	spool_out_done(s, o);
	spool_done(s, 1);
	spool_done(s, 2);
	ck_assert_uint_eq(spool_close(s), 0);
	ck_assert_uint_eq(files_in(test_path("spool"), NULL), 0);
	buf_release(&text);
}
END_TEST

static const char *open_refused(const char *dir)
{
	struct error err = ERROR_INIT;
	struct spool *s = spool_open(&(struct spool_options){ .dir = dir }, &err);

	ck_assert_ptr_null(s);
	return story_text("%s", err.text);
}

START_TEST(directories_of_others_are_refused)
{
	size_t before = descriptors();

	mkdir("open", 0700);
	chmod("open", 0770);
	ck_assert_ptr_nonnull(strstr(open_refused(test_path("open")), "can be written by others than its owner: chmod 700"));
	chmod("open", 0777);
	ck_assert_ptr_nonnull(strstr(open_refused(test_path("open")), "can be written by others"));
	mkdir("real", 0700);
	ck_assert_int_eq(symlink("real", "link"), 0);
	ck_assert_ptr_nonnull(strstr(open_refused(test_path("link")), "expected a directory, not a link"));
	write_file("file", "");
	ck_assert_ptr_nonnull(strstr(open_refused(test_path("file")), "expected a directory"));
	ck_assert_uint_eq(descriptors(), before);
}
END_TEST

START_TEST(only_the_owner_can_look_in)
{
	struct spool *s = open_spool(test_path("a/b/spool"), NULL, 4096);
	struct spool_record r = record_of("9", "");
	struct error err = ERROR_INIT;
	struct stat st;
	struct spool_out *o;
	int fd;

	umask(0);
	seal(s, "1", "null");
	must_flush(s);
	o = spool_out_open(s, &r, &fd, &err);
	ck_assert_ptr_nonnull(o);
	for (size_t i = 0; i < 4; i++) {
		static const char *const names[] = { "lock", "reserve", "segment.0", "out.0" };

		ck_assert_int_eq(stat(story_text("%s/%s/%s", test_path("a/b/spool"), spool_instance(s), names[i]), &st), 0);
		ck_assert_uint_eq(st.st_mode & 07777, 0600);
	}
	ck_assert_int_eq(stat(test_path("a/b/spool"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	ck_assert_int_eq(stat(story_text("%s/%s", test_path("a/b/spool"), spool_instance(s)), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	spool_close(s);
}
END_TEST

/* ---- processes ---- */

/* In a child: seal for ever, and say on the pipe what was sealed. */
static void writer(int to, unsigned seed)
{
	struct spool *s = must_open();
	uint64_t told = 0;

	for (uint64_t n = 1;; n++) {
		char job[24];

		snprintf(job, sizeof job, "%llu", (unsigned long long)n);
		seal(s, job, n % 50 == 0 ? "\"a longer result, so that writes are of several sizes ......................\"" : "1");
		spool_advance(s, clock_now());
		if (rand_r(&seed) % 10 == 0)
			must_flush(s);
		if (seen_.sealed > told) {
			told = seen_.sealed;
			if (write(to, &told, sizeof told) != (ssize_t)sizeof told)
				_exit(1);
		}
	}
}

static pid_t start_writer(int *from, unsigned seed)
{
	int ends[2];
	pid_t pid;

	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		writer(ends[1], seed);
	}
	close(ends[1]);
	*from = ends[0];
	return pid;
}

static void must_hold_all(uint64_t sealed, unsigned seed)
{
	const char *jobs = all_jobs();

	for (uint64_t n = 1; n <= sealed; n++) {
		char want[40];

		snprintf(want, sizeof want, "done:%llu=", (unsigned long long)n);
		jobs = strstr(jobs, want);
		if (jobs == NULL)
			story_fail("seed %u: entry %llu of %llu sealed ones is lost", seed, (unsigned long long)n,
			           (unsigned long long)sealed);
	}
}

START_TEST(sigkill_at_any_time_loses_nothing_sealed)
{
	unsigned seed = (unsigned)_i + 1, dice = seed;
	uint64_t sealed = 0, upto;
	int from;
	pid_t pid = start_writer(&from, seed);

	for (int lines = rand_r(&dice) % 60; lines >= 0 && read(from, &upto, sizeof upto) == (ssize_t)sizeof upto; lines--)
		sealed = upto;
	usleep((useconds_t)rand_r(&dice) % 3000);	/* anywhere within a write or a sync */
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(from, &upto, sizeof upto) == (ssize_t)sizeof upto)
		sealed = upto;
	close(from);
	ck_assert_uint_gt(sealed, 0);
	must_hold_all(sealed, seed);
}
END_TEST

START_TEST(a_living_instance_is_nobody_elses)
{
	struct error err = ERROR_INIT;
	struct spool_names names;
	struct spool_instance in;
	uint64_t upto;
	int from, base;
	pid_t pid = start_writer(&from, 1), rivals[4];
	int winners = 0, status;

	ck_assert_int_eq(read(from, &upto, sizeof upto), (ssize_t)sizeof upto);
	base = spool_base_open(test_path("spool"), false, NULL, &err);
	ck_assert_int_eq(spool_names_read(&names, base, "", &err), 0);
	ck_assert_uint_eq(names.len, 1);
	ck_assert_int_eq(spool_instance_open(&in, base, names.v[0], &err), 0);
	ck_assert(spool_instance_alive(&in));
	ck_assert(!spool_instance_lock(&in));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(from);
	ck_assert(!spool_instance_alive(&in));
	for (size_t i = 0; i < 4; i++)
		if ((rivals[i] = fork()) == 0) {
			struct spool_instance mine;

			if (spool_instance_open(&mine, base, names.v[0], &err) < 0 || !spool_instance_lock(&mine))
				_exit(0);
			for (;;)
				pause();
		}
	must_happen(spool_instance_alive(&in), 10000);
	for (int ended = 0; ended < 3; ended++)
		ck_assert_int_gt(waitpid(-1, &status, 0), 0);
	for (size_t i = 0; i < 4; i++)
		winners += kill(rivals[i], SIGKILL) == 0;
	ck_assert_int_eq(winners, 1);
	ck_assert_int_gt(waitpid(-1, &status, 0), 0);
	spool_names_release(&names);
	spool_instance_close(&in);
	close(base);
}
END_TEST

/* ---- output files ---- */

START_TEST(output_is_kept_from_the_first_byte)
{
	struct found *f;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct spool *s = must_open();
		struct spool_record r = record_of("42", "");
		struct error err = ERROR_INIT;
		int fd;

		if (spool_out_open(s, &r, &fd, &err) == NULL || write(fd, "half a res", 10) != 10)
			_exit(1);
		raise(SIGKILL);
	}
	waitpid(pid, &status, 0);
	ck_assert(WIFSIGNALED(status));
	f = find_all(test_path("spool"));
	ck_assert_uint_eq(f->outputs, 1);
	ck_assert_str_eq(f->output_job, "42");
	ck_assert_str_eq(buf_text(&f->output), "half a res");
	buf_release(&f->output);
}
END_TEST

START_TEST(an_output_file_is_used_again_and_keeps_nothing)
{
	struct spool *s = must_open();
	struct error err = ERROR_INIT;
	struct buf text = BUF_INIT;
	char key[SPOOL_OUTPUT_UNIT + 1] = "";
	struct found *f;
	off_t bytes;

	memset(key, 'k', sizeof key - 1);	/* its head takes two units */
	for (int i = 0; i < 1000; i++) {
		struct spool_record r = record_of(i % 4 == 0 ? key : i % 2 == 0 ? "a job with a long name" : "1", "");
		const char *printed = i % 3 == 0 ? "a long line of output\n" : i % 3 == 1 ? "1" : "";
		int fd;
		struct spool_out *o = spool_out_open(s, &r, &fd, &err);

		ck_assert_ptr_nonnull(o);
		ck_assert_int_eq(write(fd, printed, strlen(printed)), (ssize_t)strlen(printed));
		ck_assert(spool_out_held(o));
		close(fd);
		ck_assert(!spool_out_held(o));
		buf_clear(&text);
		ck_assert_uint_eq(spool_out_size(o), strlen(printed));
		ck_assert_int_eq(spool_out_read(o, &text, UINT64_MAX, &err), 0);
		ck_assert_str_eq(buf_text(&text), printed);
		spool_out_done(s, o);
		bytes = 0;
		ck_assert_uint_eq(files_in(instance_path(s), &bytes), 2);	/* lock and one output file */
		ck_assert_int_le(bytes, *printed != '\0' ? SPOOL_OUTPUT_UNIT : 2 * SPOOL_OUTPUT_UNIT);
	}
	f = find_all(test_path("spool"));
	ck_assert_uint_eq(f->outputs + f->damages, 0);
	ck_assert_uint_eq(spool_close(s), 0);
	ck_assert_uint_eq(files_in(test_path("spool"), NULL), 0);
	buf_release(&text);
}
END_TEST

/* Most often the next job is near, and its head takes the place of this one. */
START_TEST(a_file_that_nothing_was_printed_into_is_named_until_the_next_look)
{
	static const struct { const char *printed; bool attended; size_t outputs; } cases[] = {
		{ "", false, 1 }, { "1", false, 0 }, { "", true, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct spool *s = must_open();
		struct spool_record r = record_of("1", ""), next = record_of("2", "");
		struct error err = ERROR_INIT;
		struct spool_out *o;
		struct found *f;
		int fd;

		r.attended = cases[i].attended;
		o = spool_out_open(s, &r, &fd, &err);
		ck_assert_int_eq(write(fd, cases[i].printed, strlen(cases[i].printed)), (ssize_t)strlen(cases[i].printed));
		close(fd);
		spool_out_done(s, o);
		ck_assert_uint_eq(outputs_named(), cases[i].outputs);
		spool_check(s);
		ck_assert_uint_eq(outputs_named(), 0);
		o = spool_out_open(s, &next, &fd, &err);
		f = find_all(test_path("spool"));
		ck_assert_uint_eq(f->outputs, 1);
		ck_assert_str_eq(f->output_job, "2");
		ck_assert_uint_eq(f->output.len, 0);
		buf_release(&f->output);
		close(fd);
		spool_out_done(s, o);
		ck_assert_uint_eq(spool_close(s), 0);
	}
}
END_TEST

static void count_damage(void *arg, const struct spool_entry *e)
{
	size_t *n = arg;

	*n += e->state == SPOOL_DAMAGED;
}

static size_t listed_as_damaged(void)
{
	struct error err = ERROR_INIT;
	size_t n = 0;

	ck_assert_int_eq(spool_walk(test_path("spool"), count_damage, &n, &err), 0);
	return n;
}

/* What a shell's > /dev/stdout does: the file is opened anew and cut to nothing, our head too. */
START_TEST(a_handler_may_cut_its_stdout_to_nothing)
{
	static const size_t sizes[] = { 0, 1, SPOOL_HEAD, SPOOL_OUTPUT_UNIT - 1, SPOOL_OUTPUT_UNIT, 3 * SPOOL_OUTPUT_UNIT };
	char printed[3 * SPOOL_OUTPUT_UNIT];
	struct spool *s = must_open();
	struct spool_record r = record_of("1", "");
	struct error err = ERROR_INIT;
	struct buf text = BUF_INIT;

	memset(printed, '7', sizeof printed);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		bool cut = i % 2 == 0;
		size_t len = sizes[i / 2];
		int fd, again;
		struct spool_out *o = spool_out_open(s, &r, &fd, &err);

		again = open(story_text("/proc/self/fd/%d", fd), O_WRONLY | (cut ? O_TRUNC : O_APPEND));
		ck_assert_int_ge(again, 0);
		ck_assert_int_eq(write(again, printed, len), (ssize_t)len);
		close(again);
		ck_assert_uint_eq(listed_as_damaged(), 0);
		ck_assert_uint_eq(spool_out_size(o), len);
		close(fd);
		ck_assert(!spool_out_held(o));
		buf_clear(&text);
		ck_assert_uint_eq(spool_out_size(o), len);
		ck_assert_int_eq(spool_out_read(o, &text, UINT64_MAX, &err), 0);
		ck_assert_uint_eq(text.len, len);
		ck_assert_int_eq(memcmp(buf_text(&text), printed, len), 0);
		spool_out_done(s, o);
		ck_assert_uint_eq(files_in(instance_path(s), NULL), 2);		/* it is used again */
	}
	spool_check(s);
	ck_assert_uint_eq(outputs_named(), 0);
	ck_assert_uint_eq(spool_close(s), 0);
	buf_release(&text);
}
END_TEST

/* A power cut may leave the note of an end and not all that was printed before it: then nobody knows the end. */
START_TEST(the_end_of_an_output_counts_when_all_of_it_is_there)
{
	struct spool *s = must_open();
	struct spool_record r = record_of("1", "");
	struct error err = ERROR_INIT;
	struct spool_note note;
	char end[SPOOL_HEAD];
	struct spool_out *o;
	struct found *f;
	int fd;

	r.attended = true;
	o = spool_out_open(s, &r, &fd, &err);
	ck_assert_int_eq(spool_out_note(s, o, &note, &err), 0);
	ck_assert_int_eq(write(fd, "1234", 4), 4);
	for (uint64_t printed = 3; printed <= 5; printed++) {
		spool_encode_end(end, note.claim_id, 0, printed, note.seed);
		ck_assert_int_eq(pwrite(note.fd, end, sizeof end, (off_t)note.at), (ssize_t)sizeof end);
		f = find_all(test_path("spool"));
		ck_assert(f->ended == (printed <= 4));
		buf_release(&f->output);
	}
	close(note.fd);
	close(fd);
	spool_out_done(s, o);
	ck_assert_uint_eq(spool_close(s), 0);
}
END_TEST

/* A grandchild that prints on after its job is over prints into nobody else's result. */
START_TEST(a_file_that_is_still_printed_into_is_not_used_again)
{
	struct spool *s = must_open();
	struct spool_record r = record_of("1", "");
	struct error err = ERROR_INIT;
	struct buf text = BUF_INIT;
	int first, second;
	struct spool_out *o = spool_out_open(s, &r, &first, &err), *next;

	spool_out_done(s, o);		/* first is still open */
	next = spool_out_open(s, &r, &second, &err);
	ck_assert_int_eq(write(first, "stray", 5), 5);
	ck_assert_int_eq(write(second, "mine", 4), 4);
	ck_assert_int_eq(spool_out_read(next, &text, UINT64_MAX, &err), 0);
	ck_assert_str_eq(buf_text(&text), "mine");
	close(first);
	close(second);
	spool_out_done(s, next);
	ck_assert_uint_eq(spool_close(s), 0);
	buf_release(&text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("spool");
	TCase *format = story_case(s, "format"), *writing = story_case(s, "writing"), *disk = story_case(s, "disk");
	TCase *dirs = story_case(s, "directories"), *processes = story_case(s, "processes"), *outs = story_case(s, "outputs");

	tcase_add_test(format, the_sum_is_crc32c);
	tcase_add_test(format, a_record_comes_back_as_it_was);
	tcase_add_test(format, an_output_begins_at_a_whole_unit);
	tcase_add_test(format, a_torn_tail_costs_what_it_tore);
	tcase_add_test(format, a_wrong_byte_costs_the_record_it_is_in);
	tcase_add_test(format, reading_goes_on_behind_garbage);
	tcase_add_test(format, bytes_of_a_handler_are_never_a_record);
	tcase_add_test(writing, what_is_sealed_is_in_the_files);
	tcase_add_test(writing, a_spool_with_nothing_left_is_gone);
	tcase_add_test(writing, a_segment_is_emptied_when_all_in_it_is_done);
	tcase_add_test(writing, files_do_not_grow_without_bound);
	tcase_add_test(disk, what_gathers_during_a_sync_goes_in_the_next);
	tcase_add_test(disk, a_pace_holds_back_the_next_sync);
	tcase_add_test(disk, a_failing_sync_acknowledges_nothing);
	tcase_add_test(disk, a_full_disk_holds_results_until_there_is_room);
	tcase_add_test(disk, short_writes_are_gone_on_with);
	tcase_add_test(disk, a_real_full_disk);
	tcase_add_test(disk, a_reserve_that_does_not_fit_is_said_once);
	tcase_add_test(dirs, a_directory_that_disappears_is_made_again);
	tcase_add_test(dirs, directories_of_others_are_refused);
	tcase_add_test(dirs, only_the_owner_can_look_in);
	tcase_add_loop_test(processes, sigkill_at_any_time_loses_nothing_sealed, 0, 20);
	tcase_add_test(processes, a_living_instance_is_nobody_elses);
	tcase_add_test(outs, output_is_kept_from_the_first_byte);
	tcase_add_test(outs, an_output_file_is_used_again_and_keeps_nothing);
	tcase_add_test(outs, a_file_that_nothing_was_printed_into_is_named_until_the_next_look);
	tcase_add_test(outs, a_handler_may_cut_its_stdout_to_nothing);
	tcase_add_test(outs, the_end_of_an_output_counts_when_all_of_it_is_there);
	tcase_add_test(outs, a_file_that_is_still_printed_into_is_not_used_again);
	return check_main(s);
}
