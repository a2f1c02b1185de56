#!/usr/bin/env php
<?php
// A handler for both modes: mode = exec (one job, payload on stdin) and mode = serve (JSON lines).

// The work itself: a payload in, a result out. Throw to fail the job.
function work($payload)
{
    return ['echo' => $payload];
}

const FLAGS = JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;

if (getenv('UNSTUCK_JOB_ID') !== false) { // only in exec mode is the job in the environment
    echo json_encode(work(json_decode(stream_get_contents(STDIN), false, 512, FLAGS)), FLAGS), "\n";
    exit;
}
while (($line = fgets(STDIN)) !== false) { // EOF: the worker asks us to finish
    $job = json_decode($line, false, 512, FLAGS);
    try {
        $answer = ['id' => $job->id, 'ok' => true, 'result' => work($job->payload)];
    } catch (Throwable $error) { // 'retry' => false would fail it for good
        $answer = ['id' => $job->id, 'ok' => false, 'error' => $error->getMessage()];
    }
    echo json_encode($answer, FLAGS), "\n";
}
