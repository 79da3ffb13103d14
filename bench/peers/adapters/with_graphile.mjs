// graphile-worker: a local queue of 500, completions in batches, 24 jobs at once, as its page on performance advises.
import { makeWorkerUtils, run, runMigrations } from "graphile-worker";
import { chunks, count, main, mark } from "./harness.mjs";

main({
  setup: (dsn) => runMigrations({ connectionString: dsn }),
  async producer(dsn) {
    const utils = await makeWorkerUtils({ connectionString: dsn });
    return {
      async many(task, total) {
        for (const size of chunks(total))
          await utils.addJobs(Array.from({ length: size }, () => ({ identifier: task, payload: {} })));
      },
      one: (data) => utils.addJob("mark", { data }),
    };
  },
  work: (dsn) =>
    run({
      connectionString: dsn,
      taskList: { noop: async () => count(), mark: async ({ data }) => mark(data) },
      noHandleSignals: true,
      preset: {
        worker: {
          connectionString: dsn,
          concurrentJobs: 24,
          maxPoolSize: 10,
          preparedStatements: true,
          localQueue: { size: 500 },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
        },
      },
    }),
});
