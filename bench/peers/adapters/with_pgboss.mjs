// pg-boss: a handler of batches of 1,000, two beside each other, burst while batches are full, notifications on.
import { PgBoss } from "pg-boss";
import { chunks, count, main, mark } from "./harness.mjs";

const WORK = {
  batchSize: 1000,
  localConcurrency: 2,
  burstWhenBatchFull: true,
  pollingIntervalSeconds: 0.5,
};

async function started(dsn) {
  const boss = new PgBoss({ connectionString: dsn, useListenNotify: true });
  boss.on("error", console.error);
  await boss.start();
  return boss;
}

main({
  async setup(dsn) {
    const boss = await started(dsn);
    await boss.createQueue("noop", { notify: true });
    await boss.createQueue("mark", { notify: true });
    await boss.stop();
  },
  async producer(dsn) {
    const boss = await started(dsn);
    return {
      async many(task, total) {
        for (const size of chunks(total))
          await boss.insert(task, Array.from({ length: size }, () => ({ data: {} })));
      },
      one: (data) => boss.send("mark", { data }),
    };
  },
  async work(dsn) {
    const boss = await started(dsn);
    await boss.work("noop", WORK, async (jobs) => jobs.forEach(count));
    await boss.work("mark", WORK, async (jobs) => jobs.forEach((job) => mark(job.data.data)));
  },
});
