/*
 * The checkpoint protocol as it is built: a job of one source subtask and one sink subtask, and everything
 * that may go wrong between them. Checked with Spin by `npm run model`.
 *
 *   Coordinator(0|1)   protocol/coordinator.ts, checkpoint.ts. When one has taken over, the other may go on: a zombie.
 *   Store              redis/scripts.ts, one atomic step each. Packets reach it late and again; TTLs run out.
 *   Source(LIVE|LEFT)  protocol/worker.ts, actors/source.ts: the process that new generations are deployed in,
 *                      and one that was left behind and still works: a zombie.
 *   Sink(LIVE|LEFT)    protocol/alignment.ts, commit.ts: likewise. Both publish to one output stream.
 *
 * Control messages are level-triggered: orders and beats say everything again and again. So a message is not a
 * thing in a queue here but a *fact*: once told, anybody may hear it at any time, often, in any order, or never.
 * That is a bus that loses, doubles and reorders without a bound.
 *
 * Checked after every step of every interleaving:
 *   X1  the output stream holds the records 0, 1, 2, ... in order, each once
 *   X2  a sink's state takes in every record of its generation once, in order
 *   X3  the parts of a completed checkpoint are of one instant, and whoever restores it finds them
 *   X4  the output stream is never ahead of what has completed, unless the store lost it
 *   X5  a job that has completed a checkpoint never starts from nothing
 *
 * A guard carries the number of its rule in lib/README.md; -DNO_P... takes it out, and one of X1 to X5 breaks.
 * Every step is a d_step, so that no half of one is counted as a state; a choice is two options of a loop.
 */
#ifndef RECORDS
#define RECORDS 2
#endif
#ifndef IDS
#define IDS 2 /* checkpoint ids; at most 3 */
#endif
#ifndef GENERATIONS
#define GENERATIONS 2 /* at most 3 */
#endif
#ifndef TERMS
#define TERMS 2
#endif

#define LIVE 0
#define LEFT 1
#define NONE 0

/*
 * An attempt is an id in a generation; it names the parts in the store (redis/keys.ts).
 * P1: an id is never used twice, so the id alone says which attempt it is.
 */
#ifdef NO_P1
#define ATTEMPTS 16
#define ATTEMPT(g, id) ((g) * 4 + (id))
#define ID(a) ((a) % 4)
#else
#define ATTEMPTS (IDS + 1)
#define ATTEMPT(g, id) (id)
#define ID(a) (a)
#endif

/* One option of a loop for each attempt, or each generation. */
#ifdef NO_P1
#define EACH_ATTEMPT(step, i) :: step(i, 5) :: step(i, 6) :: step(i, 7) :: step(i, 9) :: step(i, 10) :: step(i, 11) :: step(i, 13) :: step(i, 14) :: step(i, 15)
#elif IDS == 2
#define EACH_ATTEMPT(step, i) :: step(i, 1) :: step(i, 2)
#else
#define EACH_ATTEMPT(step, i) :: step(i, 1) :: step(i, 2) :: step(i, 3)
#endif
#if GENERATIONS == 2
#define EACH_GENERATION(step, i) :: step(i, 1) :: step(i, 2)
#else
#define EACH_GENERATION(step, i) :: step(i, 1) :: step(i, 2) :: step(i, 3)
#endif

#define has(set, a) ((set) & (1 << (a)))
#define put(set, a) set = (set) | (1 << (a))
#define take(set, a) set = (set) & ~(1 << (a))

/* --- the store: Redis, where every script is atomic -------------------------------------------------- */
byte storeTerm, storeGeneration, storeCounter;
byte latest;                           /* id of the newest completed checkpoint; 0: none, or its pointer was lost */
byte latestS, latestK;                 /* its manifest: the attempts whose parts it names, of source and sink */
bool everCompleted, pointerLost;
byte partS[ATTEMPTS], partK[ATTEMPTS]; /* 0: absent; else 1 + the records before the barrier */
short partFiled[ATTEMPTS];             /* in the sink's part: `filed` at the barrier */
byte termOf[GENERATIONS + 1], restoresS[GENERATIONS + 1], restoresK[GENERATIONS + 1];
byte generationOf[ATTEMPTS];

/* --- facts: what was told, and may be heard at any time ----------------------------------------------- */
byte deployTold, runTold;           /* sets of generations: orders ... */
byte readyS, readyK;                /* ... and the beats that answer them */
short triggerTold, abortTold;       /* sets of attempts: orders ... */
short reportS, reportK;             /* ... and beats */
short commitSent;                   /* attempts whose commit script is under way to the store */
byte completedTold[GENERATIONS + 1]; /* newest completed id in the orders of a generation */

/* --- the output stream --------------------------------------------------------------------------------- */
byte length, lastGeneration, lastAttempt; /* headers of its last message: whose, and of which epoch */

/* --- coordinators ---------------------------------------------------------------------------------------- */
mtype = { off, beginning, deploying, running };
mtype phase[2] = off;
byte term[2], generation[2];
byte pending[2];           /* the id of the attempt under way (maxConcurrent 1, the default) */
byte heardS[2], heardK[2]; /* its reports: the attempts whose parts they name */
bool committing[2];

/* --- workers' processes: [LIVE] and [LEFT] --------------------------------------------------------------- */
byte highestS, highestK;                     /* W5: the generation that was deployed last in [LIVE] */
byte sourceOf[2];                            /* generation of the source; 0: nothing is deployed */
byte position[2], triggered[2];
byte sinkOf[2];
byte consumed[2], boundary[2];               /* records in its state; those before the last barrier */
byte closedThrough[2];                       /* last id that was handled */
bool recovering[2], reading[2];              /* S7: publishes what was restored; S3: must read the stream's end */
byte expected[2], next[2];                   /* what the next message must follow; the record that it carries */
short filed[2];                              /* attempts whose records are prepared, not known to be published */
byte low[ATTEMPTS], high[ATTEMPTS];          /* the records between an attempt's barrier and the one before */

/* --- mailboxes: the generation is in the subject --------------------------------------------------------- */
mtype = { record, barrier };
chan mailbox[GENERATIONS + 1] = [RECORDS + IDS] of { mtype, byte };
#ifdef NO_P8
#define BOX(g) 0
#else
#define BOX(g) (g) /* P8: a zombie writes where nobody reads */
#endif

/* What nobody will read is not kept: it would only multiply states. */
#define IS_READ(g) (g > highestK || sinkOf[LIVE] == g || sinkOf[LEFT] == g)
#ifdef NO_P8
inline drain(g) { skip }
#else
inline drain(g) { if :: g != 0 -> do :: len(mailbox[g]) > 0 -> mailbox[g]?_, _ :: else -> break od; skip :: else fi }
#endif
inline send(g, kind, what) { if :: IS_READ(g) -> mailbox[BOX(g)]!kind, what :: else fi }

/* --- what rules that are taken out need ------------------------------------------------------------------ */
#ifdef NO_P2
byte namedS[ATTEMPTS], namedK[ATTEMPTS]; /* the parts that a manifest names may be of another generation */
#define NAMED_S(a) namedS[a]
#define NAMED_K(a) namedK[a]
#else
#define NAMED_S(a) (a)
#define NAMED_K(a) (a)
#endif
#ifdef NO_P4
byte capturing[2];
#endif

/*
 * -DDEATHS: a process dies, and another takes its name, which has heard nothing. NATS gives it only what is sent
 * from then on, so it hears the order to deploy while that is still the coordinator's word; not once the
 * generation runs (W4). -DLATE_ORDERS gives it old orders too: what the protocol does not stand.
 */
#if defined(DEATHS) && !defined(LATE_ORDERS)
bool newbornS, newbornK;
#define DEPLOYING(c, g) (phase[c] == deploying && generation[c] == g)
#define HEARS(newborn, g) (!newborn || DEPLOYING(0, g) || DEPLOYING(1, g))
#else
#define HEARS(newborn, g) true
#endif

#ifndef BREADTH
hidden /* no part of the state; a breadth-first search cannot do that */
#endif
byte a_, c_, x_; /* scratch within one step */

/* ========================================================================================================= */
/* Coordinator                                                                                                 */
/* ========================================================================================================= */

inline forget(c) { pending[c] = 0; heardS[c] = 0; heardK[c] = 0; committing[c] = false }
inline leave(c) { phase[c] = off; generation[c] = 0; forget(c) }

#define MAY_RESTART (storeGeneration < GENERATIONS)
#define MINE(c) (term[c] == storeTerm && generation[c] == storeGeneration)

/* A beat brings a report. P2: it must be of this generation; any other is dropped. */
#ifdef NO_P2
#define IS_PENDING(c, a) (pending[c] == ID(a))
#else
#define IS_PENDING(c, a) (pending[c] == ID(a) && generation[c] == generationOf[a])
#endif
inline hearSource(c, a) { d_step { pending[c] != 0 && heardS[c] == 0 && has(reportS, a) && IS_PENDING(c, a) ->
  printf("coordinator %d hears: source reports %d of generation %d\n", c, ID(a), generationOf[a]); heardS[c] = a } }
inline hearSink(c, a) { d_step { pending[c] != 0 && heardK[c] == 0 && has(reportK, a) && IS_PENDING(c, a) ->
  printf("coordinator %d hears: sink reports %d of generation %d\n", c, ID(a), generationOf[a]); heardK[c] = a } }

proctype Coordinator(byte c)
{
end: do
  /* Its run takes the job, since another's lease ran out. The other may live on, and not know. */
  :: d_step { phase[c] == off && storeTerm < TERMS && MAY_RESTART ->
       storeTerm++; printf("coordinator %d takes the job, term %d\n", c, storeTerm); term[c] = storeTerm; phase[c] = beginning }

  /* beginGeneration: the number, and what it restores, in one step. */
  :: d_step { phase[c] == beginning && MAY_RESTART ->
       if
       :: term[c] != storeTerm -> leave(c) /* P9: fenced by the store */
#ifndef NO_P10
       :: term[c] == storeTerm && latest == 0 && everCompleted -> leave(c) /* P10: lost is not new */
#endif
       :: else ->
            assert(latest != 0 || !everCompleted); /* X5 */
            storeGeneration++; printf("coordinator %d begins generation %d from %d\n", c, storeGeneration, latest); generation[c] = storeGeneration; termOf[storeGeneration] = term[c];
            restoresS[storeGeneration] = latestS; restoresK[storeGeneration] = latestK;
            completedTold[storeGeneration] = latest;
            phase[c] = deploying; put(deployTold, storeGeneration)
       fi }

  /* P8, O2: records flow when everything is restored, and published again (P7). */
  :: d_step { phase[c] == deploying && has(readyS, generation[c]) && has(readyK, generation[c]) ->
       printf("coordinator %d: generation %d runs\n", c, generation[c]);
       phase[c] = running; put(runTold, generation[c]) }

  /* O3: a failure, or what looks like one, ends the generation with all that is pending. */
  :: d_step { (phase[c] == deploying || phase[c] == running) && MAY_RESTART ->
       printf("coordinator %d: generation %d failed\n", c, generation[c]);
       forget(c); phase[c] = beginning }

  /* allocate; the trigger is in the orders from now on. */
  :: d_step { phase[c] == running && pending[c] == 0 && storeCounter < IDS ->
#ifdef NO_P1
       storeCounter = latest;
#endif
       if
       :: !MINE(c) -> leave(c) /* P9 */
       :: else ->
            storeCounter++; /* P1: one durable counter */
            pending[c] = storeCounter;
            a_ = ATTEMPT(generation[c], storeCounter);
            printf("coordinator %d triggers %d\n", c, pending[c]);
            generationOf[a_] = generation[c]; put(triggerTold, a_)
       fi }

  /* It times out, or is declined. K4: not once its commit was sent. */
  :: d_step { pending[c] != 0 && !committing[c] ->
       printf("coordinator %d aborts %d\n", c, pending[c]);
       put(abortTold, ATTEMPT(generation[c], pending[c])); forget(c) }

  EACH_ATTEMPT(hearSource, c)
  EACH_ATTEMPT(hearSink, c)

  /* K3: all have reported. The commit is sent, and sent again until there is an answer. */
  :: d_step { heardS[c] != 0 && heardK[c] != 0 && !committing[c] ->
       a_ = ATTEMPT(generation[c], pending[c]);
       printf("coordinator %d sends the commit of %d\n", c, pending[c]);
       committing[c] = true; put(commitSent, a_);
#ifdef NO_P2
       namedS[a_] = heardS[c]; namedK[a_] = heardK[c];
#endif
#ifdef NO_P6_EARLY
       completedTold[generation[c]] = pending[c] /* P6 taken out: sinks hear before the commit point */
#endif
     }
  od
}

/* ========================================================================================================= */
/* Store: what reaches it late, and what happens to it                                                        */
/* ========================================================================================================= */

#define IS_LATEST(a) (latest == ID(a) && latestS == NAMED_S(a) && latestK == NAMED_K(a))

/* The commit script; its answer in x_: 0 fenced, 1 committed, 2 refused. Nothing is written before all checks. */
inline commit(a) {
  if
#ifndef NO_P5_FENCE
  :: termOf[generationOf[a]] != storeTerm || generationOf[a] != storeGeneration -> x_ = 0 /* P5: fenced */
#endif
  :: else ->
       if
       :: IS_LATEST(a) -> x_ = 1                /* P5: already-committed, a repeat */
       :: !IS_LATEST(a) && ID(a) <= latest -> x_ = 2 /* superseded */
#ifndef NO_P5_PARTS
       :: ID(a) > latest && (partS[NAMED_S(a)] == 0 || partK[NAMED_K(a)] == 0) -> x_ = 2 /* P5: parts-missing */
#endif
       :: else ->
            assert(partS[NAMED_S(a)] == 0 || partK[NAMED_K(a)] == 0 || partS[NAMED_S(a)] == partK[NAMED_K(a)]); /* X3 */
            x_ = 1; latest = ID(a); latestS = NAMED_S(a); latestK = NAMED_K(a); everCompleted = true
       fi
  fi
}

/* The answer reaches coordinator c_, if that still waits for it. P6: only now may sinks hear. */
inline answer(a) {
  c_ = 0;
  do
  :: c_ < 2 ->
       if
       :: committing[c_] && generation[c_] == generationOf[a] && pending[c_] == ID(a) ->
            if
            :: x_ == 0 -> leave(c_)
            :: x_ == 1 -> completedTold[generationOf[a]] = ID(a); forget(c_)
            :: else -> put(abortTold, a); forget(c_)
            fi
       :: else
       fi;
       c_++
  :: else -> break
  od;
  c_ = 0
}

inline commitAnswered(i, a) { d_step { has(commitSent, a) -> commit(a);
  printf("store answers the commit of %d: %d\n", ID(a), x_); answer(a) } }
/* P5: an unknown outcome is asked again. */
inline commitUnanswered(i, a) { d_step { has(commitSent, a) -> commit(a);
  printf("store, the commit of %d: %d, unheard\n", ID(a), x_);
#ifdef NO_P5_ASK
  x_ = 1; answer(a)
#endif
} }

/* P11: the parts of the newest checkpoint have no TTL; those of any other attempt may be gone at any time. */
#ifdef NO_P11
#define IS_KEPT(a) false
#else
#define IS_KEPT(a) (latestS == a || latestK == a)
#endif
inline expire(i, a) { d_step { (partS[a] != 0 || partK[a] != 0) && !IS_KEPT(a) ->
  printf("parts of %d expire\n", ID(a)); partS[a] = 0; partK[a] = 0; partFiled[a] = 0 } }

proctype Store()
{
end: do
  EACH_ATTEMPT(commitAnswered, 0)
  EACH_ATTEMPT(commitUnanswered, 0)
  EACH_ATTEMPT(expire, 0)
#ifdef LOSS
  /* The job's record comes back without its pointer, once. */
  :: d_step { latest != 0 && !pointerLost -> printf("the pointer is lost\n"); pointerLost = true; latest = 0; latestS = 0; latestK = 0 }
#endif
  od
}

/* ========================================================================================================= */
/* Source                                                                                                      */
/* ========================================================================================================= */

/* W1, W5: only a higher generation is deployed. W4: and only by the order to deploy. */
inline deploySource(g) {
  highestS = g; a_ = restoresS[g]; printf("source restores %d for generation %d\n", ID(a_), g);
  if
  :: a_ != NONE && partS[a_] == 0 -> sourceOf[LIVE] = 0; assert(a_ != latestS) /* X3 */
  :: else ->
       sourceOf[LIVE] = g; triggered[LIVE] = ID(a_); put(readyS, g);
       if :: a_ == NONE -> position[LIVE] = 0 :: else -> position[LIVE] = partS[a_] - 1 fi
  fi
}
/* W2: what ran before is let go of ... */
inline replaceSource(i, g) { d_step { i == LIVE && has(deployTold, g) && HEARS(newbornS, g) && g > highestS -> deploySource(g) } }
/* ... or it ran in another process, which has not heard. */
inline leaveSource(i, g) { d_step { i == LIVE && has(deployTold, g) && HEARS(newbornS, g) && g > highestS && sourceOf[LIVE] != 0 ->
  printf("source of generation %d is left behind\n", sourceOf[LIVE]); sourceOf[LEFT] = sourceOf[LIVE]; position[LEFT] = position[LIVE]; triggered[LEFT] = triggered[LIVE];
  deploySource(g) } }

#define RUNS(of) (of != 0 && has(runTold, of))

/* P3, W3: a trigger at or below the last one is ignored. */
#ifdef NO_P3
#define IS_NEWS(a, last) true
#else
#define IS_NEWS(a, last) (ID(a) > last)
#endif
/* Barrier and capture in one step; the part is stored and reported. */
inline trigger(i, a) { d_step {
  has(triggerTold, a) && RUNS(sourceOf[i]) && generationOf[a] == sourceOf[i] && IS_NEWS(a, triggered[i]) &&
  nfull(mailbox[BOX(sourceOf[i])]) ->
    printf("source of generation %d: barrier %d behind %d records\n", sourceOf[i], ID(a), position[i]);
    triggered[i] = ID(a);
    send(sourceOf[i], barrier, a);
    /* Other bytes under a name that was reported never pass the commit: their digest differs (P2, P5). */
    if :: !has(reportS, a) -> partS[a] = 1 + position[i]; put(reportS, a) :: else fi
} }

proctype Source(byte i)
{
end: do
  EACH_GENERATION(replaceSource, i)
  EACH_GENERATION(leaveSource, i)
#ifdef DEATHS
  :: d_step { i == LIVE && sourceOf[LIVE] != 0 ->
       printf("source of generation %d dies\n", sourceOf[LIVE]);
#if defined(DEATHS) && !defined(LATE_ORDERS)
       newbornS = true;
#endif
       highestS = sourceOf[LIVE] - 1; sourceOf[LIVE] = 0 }
#endif
  EACH_ATTEMPT(trigger, i)
  :: d_step { RUNS(sourceOf[i]) && position[i] < RECORDS && nfull(mailbox[BOX(sourceOf[i])]) ->
       printf("source of generation %d sends record %d\n", sourceOf[i], position[i]);
       send(sourceOf[i], record, position[i]); position[i]++ }
  od
}

/* ========================================================================================================= */
/* Sink                                                                                                        */
/* ========================================================================================================= */

inline clearSink(i) {
  sinkOf[i] = 0; consumed[i] = 0; boundary[i] = 0; closedThrough[i] = 0; reading[i] = false;
  recovering[i] = false; expected[i] = 0; next[i] = 0; filed[i] = 0;
#ifdef NO_P4
  capturing[i] = 0;
#endif
  skip
}

/* a_ becomes the first filed attempt of the chain, or NONE. */
inline findHead(i) {
  a_ = 1;
  do :: a_ < ATTEMPTS && !has(filed[i], a_) -> a_++ :: else -> break od;
  if :: a_ == ATTEMPTS -> a_ = NONE :: else fi
}
inline rewind(i) { findHead(i); if :: a_ == NONE -> next[i] = 0 :: else -> next[i] = low[a_] fi }

inline deploySink(g) {
  clearSink(LIVE); highestK = g; a_ = restoresK[g]; printf("sink restores %d for generation %d\n", ID(a_), g);
  if
  :: a_ != NONE && partK[a_] == 0 -> assert(a_ != latestK) /* X3 */
  :: else ->
       sinkOf[LIVE] = g; closedThrough[LIVE] = ID(a_); reading[LIVE] = true; recovering[LIVE] = true;
       if
       :: a_ != NONE ->
            consumed[LIVE] = partK[a_] - 1; boundary[LIVE] = consumed[LIVE];
#ifndef NO_P7
            filed[LIVE] = partFiled[a_]; /* P7: what its checkpoint had prepared comes first */
#endif
            rewind(LIVE)
       :: else
       fi
  fi
}
inline replaceSink(i, g) { d_step { i == LIVE && has(deployTold, g) && HEARS(newbornK, g) && g > highestK ->
  drain(sinkOf[LIVE]); deploySink(g) } }
inline leaveSink(i, g) { d_step { i == LIVE && has(deployTold, g) && HEARS(newbornK, g) && g > highestK && sinkOf[LIVE] != 0 ->
  printf("sink of generation %d is left behind\n", sinkOf[LIVE]); drain(sinkOf[LEFT]);
  sinkOf[LEFT] = sinkOf[LIVE]; consumed[LEFT] = consumed[LIVE]; boundary[LEFT] = boundary[LIVE];
  closedThrough[LEFT] = closedThrough[LIVE]; recovering[LEFT] = recovering[LIVE]; reading[LEFT] = reading[LIVE];
  expected[LEFT] = expected[LIVE]; next[LEFT] = next[LIVE]; filed[LEFT] = filed[LIVE];
#ifdef NO_P4
  capturing[LEFT] = capturing[LIVE];
#endif
  deploySink(g) } }

#define INPUT(i) mailbox[BOX(sinkOf[i])]
#define CONSUMES(i) (RUNS(sinkOf[i]) && !recovering[i] && nempty(INPUT(i)))

inline capture(i, a) { partK[a] = 1 + consumed[i]; partFiled[a] = filed[i]; put(reportK, a) }

/* The barrier of attempt a: the open records are filed under it, and the state is captured. */
inline onBarrier(i, a) { d_step { CONSUMES(i) && INPUT(i)?[barrier, a] ->
  printf("sink of generation %d: barrier %d behind %d records\n", sinkOf[i], ID(a), consumed[i]);
  INPUT(i)?_, _;
  if
  :: IS_NEWS(a, closedThrough[i]) -> /* P3, A3 */
       closedThrough[i] = ID(a);
       if :: !has(reportK, a) -> low[a] = boundary[i] :: else fi;
       high[a] = consumed[i]; boundary[i] = consumed[i];
       if
       :: low[a] < high[a] ->
            if :: filed[i] == 0 -> next[i] = low[a] :: else fi;
            put(filed[i], a)
       :: else
       fi;
#ifdef NO_P4
       capturing[i] = a /* and records may come before the capture */
#else
       if :: !has(reportK, a) -> capture(i, a) :: else fi /* P4: nothing waits in between */
#endif
  :: else
  fi
} }
/* A6: its abort was heard before. */
inline onDeadBarrier(i, a) { d_step { CONSUMES(i) && INPUT(i)?[barrier, a] && has(abortTold, a) ->
  printf("sink of generation %d ignores barrier %d\n", sinkOf[i], ID(a)); INPUT(i)?_, _ } }

/* S1, P6: what has completed may be published; while recovering, what was restored. */
#define IS_DUE(i, a) (ID(a) <= (recovering[i] -> ID(restoresK[sinkOf[i]]) : completedTold[sinkOf[i]]))
/* P9, S2: the server stores a message only behind the one that it must follow. */
#ifdef NO_P9
#define IS_ACCEPTED(i) true
#else
#define IS_ACCEPTED(i) (expected[i] == length)
#endif
#define PUBLISHES(i) (sinkOf[i] != 0 && !reading[i] && filed[i] != 0)

inline store(i) {
  printf("sink of generation %d publishes record %d behind %d messages\n", sinkOf[i], next[i], length);
  assert(next[i] == length); /* X1 */
  length++; lastGeneration = sinkOf[i]; lastAttempt = a_;
#ifdef WITNESS
  assert(length < RECORDS || sinkOf[i] < GENERATIONS); /* to be broken: the last generation gets to the end */
#endif
  skip
}

proctype Sink(byte i)
{
end: do
  EACH_GENERATION(replaceSink, i)
  EACH_GENERATION(leaveSink, i)
#ifdef DEATHS
  :: d_step { i == LIVE && sinkOf[LIVE] != 0 ->
       printf("sink of generation %d dies\n", sinkOf[LIVE]);
#if defined(DEATHS) && !defined(LATE_ORDERS)
       newbornK = true;
#endif
       highestK = sinkOf[LIVE] - 1; clearSink(LIVE) }
#endif
  EACH_ATTEMPT(onBarrier, i)
  EACH_ATTEMPT(onDeadBarrier, i)

  :: d_step { CONSUMES(i) && INPUT(i)?[record, _] ->
       INPUT(i)?_, x_; printf("sink of generation %d takes record %d\n", sinkOf[i], x_); assert(x_ == consumed[i]); /* X2 */ consumed[i]++ }

#ifdef NO_P4
  :: d_step { capturing[i] != 0 -> printf("sink of generation %d captures behind %d records\n", sinkOf[i], consumed[i]); capture(i, capturing[i]); capturing[i] = 0 }
#endif
#ifdef NO_P6_ABORT
  :: d_step { sinkOf[i] != 0 && !recovering[i] && (filed[i] & abortTold) -> /* P6 taken out: an abort drops */
       printf("sink of generation %d drops what was aborted\n", sinkOf[i]);
       filed[i] = filed[i] & ~abortTold; rewind(i) }
#endif

  /* S7: everything restored is published; ready to run. */
  :: d_step { sinkOf[i] != 0 && recovering[i] && !reading[i] && filed[i] == 0 ->
       printf("sink of generation %d is ready\n", sinkOf[i]); recovering[i] = false; put(readyK, sinkOf[i]) }

  /* S3: reads the stream's last message; everything up to it is published, whoever did that. */
  :: d_step { sinkOf[i] != 0 && reading[i] ->
       printf("sink of generation %d reads: %d messages, the last of generation %d\n", sinkOf[i], length, lastGeneration);
       if
       :: lastGeneration > sinkOf[i] -> drain(sinkOf[i]); clearSink(i) /* S5: a zombie never publishes again */
       :: else ->
            reading[i] = false; expected[i] = length;
            if
            :: has(filed[i], lastAttempt) ->
                 x_ = 1;
                 do :: x_ < lastAttempt -> take(filed[i], x_); x_++ :: else -> break od;
                 next[i] = length;
                 if :: length == high[lastAttempt] -> take(filed[i], lastAttempt); rewind(i) :: else fi
            :: else ->
                 if
                 :: IS_DUE(i, lastAttempt) -> rewind(i) /* it is of the past, or there is none */
                 :: else -> assert(pointerLost); clearSink(i) /* X4; S6 finds what the store has lost */
                 fi
            fi
       fi }

  /* The next message arrives at the server. */
  :: d_step { PUBLISHES(i) ->
       findHead(i);
       if
       :: !IS_DUE(i, a_)
       :: IS_DUE(i, a_) && !IS_ACCEPTED(i) -> printf("sink of generation %d is refused\n", sinkOf[i]); reading[i] = true /* P9: refused */
       :: else ->
            store(i); expected[i] = length; next[i]++;
            if :: next[i] == high[a_] -> take(filed[i], a_); rewind(i) :: else fi
       fi }
  /* The same, and the answer is lost. S3: nothing is assumed. */
  :: d_step { PUBLISHES(i) ->
       findHead(i);
       if
       :: IS_DUE(i, a_) && IS_ACCEPTED(i) -> store(i); reading[i] = true
       :: else
       fi }
  od
}

init { atomic {
  run Coordinator(0); run Coordinator(1); run Store();
  run Source(LIVE); run Source(LEFT); run Sink(LIVE); run Sink(LEFT)
} }
