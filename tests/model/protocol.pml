/*
 * protocol.pml - claim, run, seal, complete, release, recover: one job, NW workers, and all that goes wrong.
 *
 * README.md beside this says which source file each step stands for, what is left out, and how to read
 * a trail. `make model` runs it; run.sh holds the lists of properties and mutants.
 *
 * Each statement is one step: the row lock, and the guard on the newest version of the row. Not
 * one step: a statement and its reply (lose), a statement and its connection (limbo: the old backend
 * executes it later, or never), a handler and its result, a listing of recover and its reset.
 *
 * Every step changes something, and what can be repeated for ever is counted (MAX_...). So each run is
 * finite, and where it ends every process waits for something that will never come.
 */
#ifndef MAX_KILL
#define MAX_KILL 1	/* KILLs, of workers and of whoever adopts a spool */
#endif
#ifndef MAX_LOST
#define MAX_LOST 1	/* replies lost */
#endif
#ifndef MAX_SILENT
#define MAX_SILENT 1	/* times a living worker falls silent, and may be declared dead */
#endif
#ifndef MAX_STOP
#define MAX_STOP 1	/* TERMs; the worker is started again afterwards */
#endif
#ifndef MAX_ORDERS
#define MAX_ORDERS 1	/* of the operator: cancel, retry, delete */
#endif
#ifndef MAX_BAD
#define MAX_BAD 1	/* results that the database will never take */
#endif
#ifndef MAX_ATTEMPTS
#define MAX_ATTEMPTS 2
#endif
#ifndef MAX_RECOVERIES
#define MAX_RECOVERIES 1
#endif
#define NW 2
#define IDS 11		/* worker ids and claim ids are 1 .. IDS, one bit each; running out of them is an error */

#define ONE_RESULT	1
#define RESULT_IFF_DONE	2
#define FENCE		3
#define CLAIMS_GROW	4
#define BYTES_KEPT	5
#define BYTES_ONCE	6
#define GOODBYE		7
#define NO_OVERLAP	8
#define EXPLAINED	9
#define SPOOL_FIRST	10
#define LEDGER		11
#define NEW_RUN		12
#ifndef PROPERTY
#define PROPERTY	0	/* all of them; -1: none, for the ltl formulas */
#endif
#define HOLDS(which, fact) assert((PROPERTY != 0 && PROPERTY != which) || (fact))

#define BIT(n)		(1 << (n))
#define HAS(set, n)	(((set) >> (n)) & 1)

mtype = { PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED, DELETED };	/* the row */
mtype = { GONE, LIVE, SILENT, WATCHED };				/* a row of unstuck.workers */
mtype = { FREE, WORKER, ADOPTER };					/* who has the lock of a spool */
mtype = { CLAIM, COMPLETE, FAIL, REJECT, GIVE, UNKNOWN, ALL };		/* statements, and what waits to be sent */
mtype = { NONE, ASKED, RUN, PRODUCED, REFUSED, LATE, SETTLED };		/* a job in the worker's memory */

/* ---- what the database holds ---- */

mtype st = PENDING;	/* status */
byte cid, cw;		/* the token: claim_id, worker_id */
byte seq;		/* claim_seq */
byte fails, recs;	/* failures, recoveries */
byte res;		/* the claim whose result is stored; 0: none */
short late;		/* bit n: late_results has the bytes of claim n, which no job has */
short fit;		/* bit n: they are a success in themselves */
short adopted;		/* bit n: they were adopted; the row of late_results stays */
byte lby[IDS + 1];	/* whose they are */
byte first;		/* first_claim */
mtype pres[IDS + 1] = GONE;	/* unstuck.workers */

/* ---- what the hosts hold ---- */

byte sp[NW], spw[NW];	/* spool: the token of the sealed record; 0: none */
mtype lock[NW] = FREE;
bool stopping[NW];
byte live[NW];		/* the claim whose handler runs */
byte ids;		/* worker ids drawn */

/* ---- a statement whose connection is gone, not executed yet ---- */

mtype limbo = NONE;
byte lc, lw;

/* ---- how much may still go wrong ---- */

byte kills, losses, silences, stops, orders, bads;

/* ---- only to state the properties ---- */

byte stored;		/* times a result was stored */
short bad;		/* bit n: the database will never take the bytes of claim n */
short dead;		/* bit n: the process behind id n is no more */
short bye;		/* bit n: id n has said goodbye */
bool excused[NW];	/* the row of the running handler was recovered, or taken away by the operator */
byte ran;		/* the claim that ran last, and nothing since then asked for another run */
short open;		/* claims that have not been ended */
byte highest;		/* claim id ever given to the job */

#define OVER	(st == COMPLETED || st == FAILED || st == CANCELLED || st == DELETED)

inline check_row() {
	HOLDS(RESULT_IFF_DONE, (res != 0) == (st == COMPLETED));
	HOLDS(GOODBYE, st != PROCESSING || !HAS(bye, cw));
	HOLDS(LEDGER, open == (st == PROCESSING -> 1 : 0))
}

/* ---- sql/queue_own.sql, sql/workers.sql ---- */

#define TOKEN(c, w)	(cid == c && cw == w)
#if defined(MUT_NO_FENCE)
#define MAY_COMPLETE(c, w)	(st != DELETED)
#define MAY_END(c, w)		(st != DELETED)
#elif defined(MUT_STATUS_ONLY)
#define MAY_COMPLETE(c, w)	(st == PROCESSING || st == PENDING)
#define MAY_END(c, w)		(st == PROCESSING)
#else
#define MAY_COMPLETE(c, w)	((st == PROCESSING || st == PENDING) && TOKEN(c, w))
#define MAY_END(c, w)		(st == PROCESSING && TOKEN(c, w))
#endif

/* claim: nothing for a worker whose row is gone */
#ifdef MUT_CLAIM_UNREGISTERED
#define MAY_CLAIM(w)	(st == PENDING)
#else
#define MAY_CLAIM(w)	(st == PENDING && pres[w] != GONE)
#endif
inline sql_claim(w, got) {
	if
	:: MAY_CLAIM(w) ->
		seq++; assert(seq <= IDS);
		HOLDS(CLAIMS_GROW, seq > highest);
		highest = seq; cid = seq; cw = w; st = PROCESSING; open++;
		got = cid;
		check_row()
	:: else -> got = 0
	fi
}

inline sql_complete(c, w, done) {
	if
	:: MAY_COMPLETE(c, w) ->
		HOLDS(FENCE, TOKEN(c, w) && st != COMPLETED);
		HOLDS(BYTES_ONCE, !HAS(late, c));
		open = open - (st != PENDING -> 1 : 0);
		st = COMPLETED; res = c; stored++;
		HOLDS(ONE_RESULT, stored == 1);
#ifdef MUT_CLEAR_TOKEN
		cw = 0;
#endif
		check_row();
		done = true
	:: else -> done = false
	fi
}

#ifdef MUT_FAIL_WHILE_PENDING
#define MAY_FAIL(c, w)		MAY_COMPLETE(c, w)
#else
#define MAY_FAIL(c, w)		MAY_END(c, w)
#endif

inline sql_end(c, w, next) {	/* what fail and release have in common */
	HOLDS(FENCE, TOKEN(c, w) && st == PROCESSING);
	st = next; open--;
	check_row()
}

inline sql_fail(c, w) {
	if
	:: MAY_FAIL(c, w) ->
		fails++;
		ran = 0;
		sql_end(c, w, (fails >= MAX_ATTEMPTS -> FAILED : PENDING))
	:: else
	fi
}

inline sql_late(c) {		/* ON CONFLICT DO NOTHING */
	if
	:: HAS(adopted, c)
	:: else -> HOLDS(BYTES_ONCE, res != c); late = late | BIT(c)
	fi
}

inline sql_late_success(c, w) {
	sql_late(c);
	if
	:: !HAS(adopted, c) -> fit = fit | BIT(c); lby[c] = w
	:: else
	fi
}

/* adopt: a job that nobody runs takes the bytes and the token of an earlier claim, of since it was last put back by hand */
#ifdef MUT_ADOPT_OVER
#define MAY_ADOPT(c)	(HAS(fit, c) && st != DELETED && c >= first)
#elif defined(MUT_ADOPT_FORMER)
#define MAY_ADOPT(c)	(HAS(fit, c) && (st == PENDING || st == FAILED))
#else
#define MAY_ADOPT(c)	(HAS(fit, c) && (st == PENDING || st == FAILED) && c >= first)
#endif
inline sql_adopt(c) {
	HOLDS(NEW_RUN, c >= first);
	late = late & ~BIT(c); fit = fit & ~BIT(c); adopted = adopted | BIT(c);
	st = COMPLETED; res = c; stored++;
	HOLDS(ONE_RESULT, stored == 1);
#ifndef MUT_ADOPT_KEEPS_TOKEN
	cid = c; cw = lby[c];
#endif
	lby[c] = 0;
	check_row()
}

inline sql_reject(c, w) {	/* fail, for good, with the bytes */
	sql_late(c);
	if
	:: MAY_END(c, w) -> ran = 0; sql_end(c, w, FAILED)
	:: else
	fi
}

#ifdef MUT_RELEASE_TAKES_BACK
#define TAKE_BACK	seq--
#else
#define TAKE_BACK	skip
#endif
inline sql_give(c, w) {		/* release of a job whose handler we ended, or did not start */
	if
	:: MAY_END(c, w) -> ran = 0; sql_end(c, w, PENDING); TAKE_BACK
	:: else
	fi
}

inline sql_unknown(c, w) {	/* release of a row that the worker does not know: nothing of it ran */
	if
	:: MAY_END(c, w) -> sql_end(c, w, PENDING)
	:: else
	fi
}

#ifdef MUT_RELEASE_BY_LIST
#define IS_HELD(w)	false	/* the list is empty: nothing is in hand any more */
#else
#define IS_HELD(w)	(st == PROCESSING && cw == w)
#endif
inline sql_release_all(w) {
	if
	:: IS_HELD(w) -> st = PENDING; open--; check_row()
	:: else
	fi
}

/* classify, as the row is now */
#define VERDICT_ALREADY(c, w)	(st == COMPLETED && TOKEN(c, w))
#define VERDICT_OURS(c, w)	((st == PROCESSING || st == PENDING) && TOKEN(c, w))	/* mine, reset */

/* ---- faults ---- */

#define MAY_LOSE	(losses < MAX_LOST)
#define MAY_LIMBO	(losses < MAX_LOST && limbo == NONE)

inline lose() { losses++ }
inline send_to_limbo(what, c, w) { losses++; limbo = what; lc = c; lw = w }

/* ---- a result on its way: store.c, and whoever adopts a spool ---- */

/*
 * job: COMPLETE (sealed, to be sent) -> REFUSED (not stored: ask) -> LATE (to be kept) -> SETTLED (drop the
 * record). REJECT: the database will never take it, fail for good and keep the bytes.
 * seen: only for the mutant that classifies by the snapshot of the write.
 */
#ifdef MUT_CLASSIFY_SAME
#define ASK_FIRST	(seen != NONE)
#define IS_OURS(c, w)	(seen == PROCESSING)
#define IS_ALREADY(c, w) (seen == COMPLETED)
#else
#define ASK_FIRST	true
#define IS_OURS(c, w)	VERDICT_OURS(c, w)
#define IS_ALREADY(c, w) VERDICT_ALREADY(c, w)
#endif

#ifdef MUT_NO_SEAL
#define IS_TRIED	tried
#else
#define IS_TRIED	(job == COMPLETE || job == REFUSED || job == LATE || job == REJECT || job == SETTLED)
#endif
#define IS_KEPT(at, c)	(res == c || HAS(late, c) || sp[at] == c)

#ifdef MUT_DROP_EARLY
#define DROP_EARLY(at)	sp[at] = 0; spw[at] = 0
#else
#define DROP_EARLY(at)	skip
#endif
#ifdef MUT_NO_SEAL
#define NOTE_TRIED	tried = true
#else
#define NOTE_TRIED	skip
#endif

#define WRITE_A_RESULT(at) \
	:: atomic { job == COMPLETE && HAS(bad, my) -> job = REJECT } \
	:: atomic { job == COMPLETE && !HAS(bad, my) && ASK_FIRST -> \
		DROP_EARLY(at); NOTE_TRIED; \
		if \
		:: sql_complete(my, mw, ok); job = (ok -> SETTLED : REFUSED); ok = false \
		:: MAY_LOSE -> lose(); sql_complete(my, mw, ok); ok = false; FORGET_SEEN \
		:: MAY_LIMBO -> send_to_limbo(COMPLETE, my, mw); FORGET_SEEN \
		fi } \
	:: atomic { job == REFUSED -> \
		if \
		:: IS_ALREADY(my, mw) -> job = STORED_BEFORE \
		:: IS_OURS(my, mw) -> job = REJECT \
		:: else -> job = REFUSED_FOR_GOOD \
		fi; FORGET_SEEN } \
	:: atomic { job == REFUSED && MAY_LOSE -> lose(); job = COMPLETE; FORGET_SEEN } \
	:: atomic { job == LATE -> \
		if \
		:: sql_late_success(my, mw); job = SETTLED \
		:: MAY_LOSE -> lose(); sql_late_success(my, mw); job = COMPLETE \
		fi } \
	:: atomic { job == REJECT -> \
		if \
		:: sql_reject(my, mw); job = SETTLED \
		:: MAY_LOSE -> lose(); sql_reject(my, mw) \
		:: MAY_LIMBO -> send_to_limbo(REJECT, my, mw) \
		fi }

#ifdef MUT_ALREADY_AGAIN
#define STORED_BEFORE	COMPLETE
#else
#define STORED_BEFORE	SETTLED
#endif
#ifdef MUT_LATE_DISCARDED
#define REFUSED_FOR_GOOD SETTLED
#else
#define REFUSED_FOR_GOOD LATE
#endif

#ifdef MUT_CLASSIFY_SAME
#define FORGET_SEEN	seen = NONE
#define TAKE_SNAPSHOT \
	:: atomic { job == COMPLETE && !HAS(bad, my) && seen == NONE -> \
		if \
		:: VERDICT_ALREADY(my, mw) -> seen = COMPLETED \
		:: VERDICT_OURS(my, mw) -> seen = PROCESSING \
		:: else -> seen = DELETED \
		fi }
#else
#define FORGET_SEEN	skip
#define TAKE_SNAPSHOT
#endif

/* ---- the worker ---- */

#ifdef MUT_RECONCILE_FORGETS_SPOOL
#define KNOWN	((job == RUN || job == PRODUCED || job == FAIL || job == GIVE) && TOKEN(my, mw))
#else
#define KNOWN	(job != NONE && TOKEN(my, mw))
#endif
#ifdef MUT_NO_RECONCILE
#define RECONCILES	false
#elif defined(MUT_RECONCILE_IN_DOUBT)	/* a few times after a reconnect, later only with a job in hand */
#define RECONCILES	(job != NONE || doubts)
#else
#define RECONCILES	true
#endif

#ifdef MUT_RECONCILE_IN_DOUBT
#define DOUBT	doubts = true
#else
#define DOUBT	skip
#endif

/* Where the claim was taken away before its reply came, what lies between is a recovery or an order. */
inline start_handler(me) {
	HOLDS(SPOOL_FIRST, sp[me] == 0);
	if
	:: st == PROCESSING && TOKEN(my, mw) ->
		HOLDS(NO_OVERLAP, live[1 - me] == 0 || excused[1 - me]);
		HOLDS(EXPLAINED, ran == 0);
		ran = my
	:: else -> excused[me] = true
	fi;
	live[me] = my
}

inline forget() { job = NONE; my = 0; mw = 0 }

inline take_up_record(me) { job = COMPLETE; my = sp[me]; mw = spw[me] }

inline end_process(me) {
	dead = dead | (pres[id] != GONE -> BIT(id) : 0);
	id = 0; forget(); ok = false; released = false;
	stopping[me] = false; live[me] = 0; excused[me] = false;
	lock[me] = FREE
}

proctype worker(byte me) {
	mtype job = NONE;
	byte my, mw;		/* the token of the job, or of the record */
	byte id;
	bool ok, released;
#ifdef MUT_CLASSIFY_SAME
	mtype seen = NONE;
#endif
#ifdef MUT_NO_SEAL
	bool tried;
#endif
#ifdef MUT_REPLAY_LATE
	bool claimed;
#endif
#ifdef MUT_RECONCILE_IN_DOUBT
	bool doubts;
#endif

end_start:
	atomic { lock[me] == FREE && ids >= me ->	/* the lock of the instance, a new id, register; 0 first, they are alike */
		lock[me] = WORKER;
		ids++; assert(ids <= IDS);
		id = ids; pres[id] = LIVE;
#ifdef MUT_REPLAY_LATE
		claimed = false
#else
		if
		:: sp[me] != 0 -> take_up_record(me)	/* replayed first: no claim while there is a job in hand */
		:: else
		fi
#endif
	}
end_loop:
	do
	/* claim */
	:: atomic { job == NONE && !stopping[me] && MAY_CLAIM(id) ->
#ifdef MUT_REPLAY_LATE
		claimed = true;
#endif
		if
		:: sql_claim(id, my); mw = id; job = ASKED
		:: MAY_LOSE -> lose(); sql_claim(id, my); my = 0; DOUBT
		fi }
	:: atomic { job == NONE && !stopping[me] && MAY_LIMBO && !OVER -> send_to_limbo(CLAIM, 0, id); DOUBT }
#ifdef MUT_RECONCILE_IN_DOUBT
	:: atomic { doubts -> doubts = false }
#endif
	:: atomic { job == ASKED ->		/* the reply */
		if
		:: stopping[me] -> job = GIVE
		:: else -> start_handler(me); job = RUN
		fi }
	:: atomic { job == ASKED && MAY_LOSE -> lose(); forget(); DOUBT }
#ifdef MUT_REPLAY_LATE
	:: atomic { job == NONE && claimed && sp[me] != 0 -> take_up_record(me) }
#endif

	/* the handler ends */
	:: atomic { job == RUN ->
		if
		:: job = PRODUCED
		:: bads < MAX_BAD -> bads++; bad = bad | BIT(my); job = PRODUCED
		:: job = FAIL
		:: stopping[me] -> job = GIVE
		:: !VERDICT_OURS(my, mw) -> forget()	/* reconcile found the claim lost: the handler was ended */
		fi;
		live[me] = 0; excused[me] = false }
#ifdef MUT_RELEASE_BEFORE_REAP
	:: atomic { job == RUN && stopping[me] -> job = GIVE }
	:: atomic { job != RUN && live[me] != 0 -> live[me] = 0; excused[me] = false }
#endif

	/* its result: sealed, then stored */
#ifdef MUT_NO_SEAL
	:: atomic { job == PRODUCED -> job = COMPLETE }
#else
	:: atomic { job == PRODUCED && sp[me] == 0 -> sp[me] = my; spw[me] = mw; job = COMPLETE }
#endif
	TAKE_SNAPSHOT
	WRITE_A_RESULT(me)
	:: atomic { job == SETTLED ->
		sp[me] = 0; spw[me] = 0;
		HOLDS(BYTES_KEPT, IS_KEPT(me, my));
#ifdef MUT_NO_SEAL
		tried = false;
#endif
		forget() }

	/* a failure, a release */
	:: atomic { job == FAIL ->
		if
		:: sql_fail(my, mw); forget()
		:: MAY_LOSE -> lose(); sql_fail(my, mw)
		:: MAY_LIMBO -> send_to_limbo(FAIL, my, mw)
		fi }
	:: atomic { job == GIVE ->
		if
		:: sql_give(my, mw); forget()
		:: MAY_LOSE -> lose(); sql_give(my, mw)
		:: MAY_LIMBO -> send_to_limbo(GIVE, my, mw)
		fi }

	/* reconcile: ours by the database, and unknown here */
	:: atomic { RECONCILES && !released && job != ASKED && st == PROCESSING && cw == id && !KNOWN ->
		if
		:: sql_unknown(cid, cw)
		:: MAY_LOSE -> lose(); sql_unknown(cid, cw)
		:: MAY_LIMBO -> send_to_limbo(UNKNOWN, cid, cw)
		fi }

	/* beat */
	:: atomic { pres[id] == SILENT || pres[id] == WATCHED -> pres[id] = LIVE }
	:: atomic { pres[id] == GONE && !stopping[me] -> ids++; assert(ids <= IDS); id = ids; pres[id] = LIVE }

	/* TERM */
	:: atomic { !stopping[me] && stops < MAX_STOP -> stops++; stopping[me] = true }
	:: atomic { stopping[me] && job == NONE && !released && pres[id] != GONE ->
		if
		:: sql_release_all(id); released = true
		:: MAY_LOSE -> lose(); sql_release_all(id)
		:: MAY_LIMBO -> send_to_limbo(ALL, 0, id)
		fi }
	:: atomic { stopping[me] && released && job == NONE && pres[id] != GONE ->	/* unregister */
		if
#ifndef MUT_UNREGISTER_HELD
		:: st == PROCESSING && cw == id -> released = false
		:: else ->
#else
		:: true ->
#endif
			pres[id] = GONE; bye = bye | BIT(id);
			check_row();
			if
			:: end_process(me); goto end_start
			:: MAY_LOSE -> lose()
			fi
		fi }
	:: atomic { stopping[me] && job == NONE && pres[id] == GONE -> end_process(me); goto end_start }	/* declared dead, or the goodbye's reply lost */

	/* KILL: the handler dies too */
	:: atomic { kills < MAX_KILL -> kills++;
		HOLDS(BYTES_KEPT, !IS_TRIED || IS_KEPT(me, my));
		end_process(me);
		FORGET_SEEN;
#ifdef MUT_NO_SEAL
		tried = false;
#endif
		goto end_start }
	od
}

/* ---- whoever adopts the spool of an instance that nobody runs ---- */

proctype adopter() {
	mtype job = NONE;
	byte my, mw, at;
	bool ok;
#ifdef MUT_CLASSIFY_SAME
	mtype seen = NONE;
#endif
#ifdef MUT_NO_SEAL
	bool tried;
#endif

end_loop:
	do
	:: atomic { job == NONE && lock[0] == FREE && sp[0] != 0 -> at = 0; lock[at] = ADOPTER; take_up_record(at) }
	:: atomic { job == NONE && lock[1] == FREE && sp[1] != 0 -> at = 1; lock[at] = ADOPTER; take_up_record(at) }
	TAKE_SNAPSHOT
	WRITE_A_RESULT(at)
	:: atomic { job == SETTLED ->
		sp[at] = 0; spw[at] = 0;
		HOLDS(BYTES_KEPT, IS_KEPT(at, my));
		forget(); lock[at] = FREE; at = 0 }
	:: atomic { job != NONE && kills < MAX_KILL -> kills++;
		HOLDS(BYTES_KEPT, IS_KEPT(at, my));
		forget(); ok = false; FORGET_SEEN; lock[at] = FREE; at = 0 }
	od
}

/* ---- recover: unstuck-recover, and each worker's own passes ---- */

#ifdef MUT_JOIN_STALLED
#define IS_ORPHAN	(pres[cw] == SILENT || pres[cw] == WATCHED)
#else
#define IS_ORPHAN	(pres[cw] == GONE)
#endif
#ifdef MUT_NO_RECHECK
#define STILL_STUCK	(st != DELETED)
#else
#define STILL_STUCK	(st == PROCESSING && TOKEN(listed, by) && IS_ORPHAN)
#endif

/* Time passes for worker n. Of a dead one only what it holds is of interest. */
#define WATCH(n) \
	:: atomic { pres[n] == LIVE && HAS(dead, n) && cw == n -> pres[n] = WATCHED } \
	:: atomic { pres[n] == LIVE && !HAS(dead, n) && !OVER && silences < MAX_SILENT -> silences++; pres[n] = SILENT } \
	:: atomic { pres[n] == SILENT -> pres[n] = WATCHED } \
	:: atomic { pres[n] == WATCHED -> pres[n] = GONE }

#define ADOPT(n) \
	:: atomic { MAY_ADOPT(n) -> sql_adopt(n) }

proctype recover() {
	byte listed, by;

end_loop:
	do
	WATCH(1)
	WATCH(2)
	WATCH(3)
	WATCH(4)
	WATCH(5)
	WATCH(6)
	WATCH(7)
	:: atomic { listed == 0 && st == PROCESSING && IS_ORPHAN -> listed = cid; by = cw }
	:: atomic { listed != 0 ->
		if
		:: STILL_STUCK ->
			open--;
			st = (recs >= MAX_RECOVERIES -> FAILED : PENDING);
			recs++;
			ran = 0; excused[0] = (live[0] != 0); excused[1] = (live[1] != 0);
			check_row()
		:: else
		fi;
		listed = 0; by = 0 }
	ADOPT(1)
	ADOPT(2)
	ADOPT(3)
	ADOPT(4)
	ADOPT(5)
	ADOPT(6)
	ADOPT(7)
	od
}

/* ---- old backends, and the operator ---- */

proctype backend() {
	bool ok;

end_loop:
	do
	:: atomic { limbo != NONE ->
		if
		:: limbo == CLAIM    -> sql_claim(lw, ok); ok = false
		:: limbo == COMPLETE -> sql_complete(lc, lw, ok); ok = false
		:: limbo == FAIL     -> sql_fail(lc, lw)
		:: limbo == REJECT   -> sql_reject(lc, lw)
		:: limbo == GIVE     -> sql_give(lc, lw)
		:: limbo == UNKNOWN  -> sql_unknown(lc, lw)
		:: limbo == ALL      -> sql_release_all(lw)
		:: true		/* it never came to execute it */
		fi;
		limbo = NONE; lc = 0; lw = 0 }
	od
}

proctype operator() {
end_loop:
	do
	:: atomic { orders < MAX_ORDERS && (st == PENDING || st == PROCESSING) -> orders++;
		open = open - (st == PROCESSING -> 1 : 0);
		ran = 0; excused[0] = (live[0] != 0); excused[1] = (live[1] != 0);
		if
		:: st = CANCELLED
		:: st = DELETED; cid = 0; cw = 0
		fi;
		check_row() }
	:: atomic { orders < MAX_ORDERS && (st == FAILED || st == CANCELLED) -> orders++;
		seq++; assert(seq <= IDS);
		HOLDS(CLAIMS_GROW, seq > highest);
		highest = seq; cid = seq; cw = 0; first = seq; fails = 0; recs = 0; st = PENDING;
		ran = 0; excused[0] = (live[0] != 0); excused[1] = (live[1] != 0);
		check_row() }
	od
}

init {
	atomic { run worker(0); run worker(1); run recover(); run adopter(); run backend(); run operator() }
}

/* ---- liveness: -DPROPERTY=-1, one formula a search (pan -a -N name) ---- */

#if PROPERTY == -1
ltl job_ends      { <> [] (OVER) }
ltl spool_empties { <> [] (sp[0] == 0 && sp[1] == 0) }
ltl stop_ends     { [] (stopping[0] -> <> !stopping[0]) }
#endif
