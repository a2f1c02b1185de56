#!/usr/bin/env node
// A handler for both modes: mode = exec (one job, payload on stdin) and mode = serve (JSON lines).
'use strict';
const fs = require('fs');
const readline = require('readline');

// The work itself: a payload in, a promise of a result out. Throw to fail the job.
async function work(payload) {
  return { echo: payload };
}

async function answer(line) {
  const job = JSON.parse(line);
  let reply;
  try {
    reply = { id: job.id, ok: true, result: await work(job.payload) };
  } catch (error) { // retry: false would fail it for good
    reply = { id: job.id, ok: false, error: String(error.message) };
  }
  process.stdout.write(JSON.stringify(reply) + '\n');
}

if (process.env.UNSTUCK_JOB_ID !== undefined) { // only in exec mode is the job in the environment
  work(JSON.parse(fs.readFileSync(0, 'utf8'))).then((result) => console.log(JSON.stringify(result)));
} else { // with pipeline above 1 jobs run side by side; at EOF we end when the last one is answered
  readline.createInterface({ input: process.stdin }).on('line', answer);
}
