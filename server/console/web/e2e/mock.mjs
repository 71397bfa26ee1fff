// Runs the end-to-end test against the development mock: once as the shop with
// its bank down, once with nothing received yet.
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker, isMainThread, workerData } from 'node:worker_threads'
import { serve } from '../dev/mock.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))

if (!isMainThread) {
  const { parentPort } = await import('node:worker_threads')
  parentPort.postMessage((await serve(workerData)).url)
} else {
  let code = 0
  for (const [empty, args] of [[false, ['--clear', 'Ada', '--need', 'traces,incident,report,review,hostile,vitals,leak']], [true, []]]) {
    // In a thread of its own: this one waits for the test to end.
    const mock = new Worker(fileURLToPath(import.meta.url), { workerData: { empty } })
    const url = await new Promise((r) => mock.once('message', r))
    console.log(`-- mock${empty ? ', empty' : ''} at ${url}`)
    const shots = process.env.SUREFOOT_SHOTS ? ['--shots', path.join(process.env.SUREFOOT_SHOTS, empty ? 'empty' : 'full')] : []
    const run = spawnSync(process.execPath, [path.join(here, 'console.e2e.mjs'), url, ...args, ...shots], { stdio: 'inherit' })
    code ||= run.status ?? 1
    await mock.terminate()
  }
  process.exit(code)
}
