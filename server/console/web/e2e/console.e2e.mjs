// Visits every page of the console of a running control plane in a real
// Chromium, in both languages and both themes, and fails on missing content,
// any console error, any policy violation, any request to elsewhere, or a
// serious accessibility fault.
//
//   node e2e/console.e2e.mjs URL [--shots DIR] [--otlp http://127.0.0.1:4318] [--clear NAME] [--need traces,incident,report,review,vitals,leak]
//
// URL, or SUREFOOT_URL. --otlp (SUREFOOT_OTLP) sends a span of a service with a
// hostile name first. --clear clears a pending review as NAME, for real.
// --need fails when the control plane has none of the things named, instead of
// skipping what shows them. CHROMIUM names the browser, /usr/bin/chromium else.
// Exit 0 all passed, 1 something failed, 2 bad usage or nothing at URL.
import { createRequire } from 'node:module'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'

const stop = (why) => {
  console.error('console.e2e: ' + why)
  process.exit(2)
}
let cli
try {
  cli = parseArgs({ allowPositionals: true, options: { shots: { type: 'string' }, otlp: { type: 'string' }, clear: { type: 'string' }, need: { type: 'string', default: '' } } })
} catch (err) {
  stop(err.message)
}
const target = (cli.positionals[0] ?? process.env.SUREFOOT_URL ?? '').replace(/\/+$/, '')
const shots = cli.values.shots ?? process.env.SUREFOOT_SHOTS ?? ''
const otlp = (cli.values.otlp ?? process.env.SUREFOOT_OTLP ?? '').replace(/\/+$/, '')
const need = new Set(cli.values.need.split(',').filter(Boolean))
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
if (!/^https?:\/\//.test(target)) stop('say which control plane: node e2e/console.e2e.mjs http://127.0.0.1:7600')
if (!existsSync(executablePath)) stop(`no Chromium at ${executablePath}; install it or set CHROMIUM`)
if (shots) mkdirSync(shots, { recursive: true })

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const hostile = '<script>window.pwned=1</script>'
let passed = 0
let failed = 0
let skipped = 0
const ok = (name, cond, detail = '') => {
  if (cond) return void passed++
  failed++
  console.log(`FAIL ${name}${detail ? ': ' + detail : ''}`)
}
const skip = (what, why) => {
  if (need.has(what)) return ok(`needs ${what}`, false, why)
  skipped++
  console.log(`skip ${what}: ${why}`)
}
const step = async (name, fn) => {
  const before = failed
  const began = Date.now()
  try {
    await fn()
  } catch (err) {
    ok(name, false, String(err?.message ?? err).split('\n').slice(0, 6).join(' | '))
  }
  console.log(`${failed === before ? 'ok  ' : 'FAIL'} ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`)
}

// A relay in front of the control plane, so that the line can be cut without
// touching the control plane itself.
const far = new URL(target)
const open = new Set()
let cut = false
const relay = net.createServer((near) => {
  if (cut) return void near.destroy()
  const to = net.connect(Number(far.port || 80), far.hostname)
  for (const [a, b] of [[near, to], [to, near]]) {
    open.add(a)
    a.pipe(b)
    a.on('error', () => b.destroy())
    a.on('close', () => (open.delete(a), b.destroy()))
  }
})
await new Promise((r) => relay.listen(0, '127.0.0.1', r))
const base = `http://127.0.0.1:${relay.address().port}`
const setCut = (on) => {
  cut = on
  if (on) for (const s of open) s.destroy()
}

const get = async (p) => {
  const res = await fetch(target + '/api/v1' + p)
  if (!res.ok) throw new Error(`${p}: status ${res.status}`)
  return res.json()
}
try {
  await get('/overview')
} catch (err) {
  relay.close()
  stop(`no control plane answers at ${target}: ${err.cause?.code ?? err.message}`)
}

if (otlp) await step('a hostile service reports', async () => {
  const now = BigInt(Date.now()) * 1_000_000n
  const hex = (n) => Array.from({ length: n }, () => Math.floor(Math.random() * 16).toString(16)).join('')
  const attr = (key, v) => ({ key, value: { stringValue: v } })
  const spans = Array.from({ length: 20 }, (_, i) => ({
    traceId: hex(32), spanId: hex(16), name: `GET ${hostile}`, kind: 2, startTimeUnixNano: String(now - BigInt(i) * 50_000_000n), endTimeUnixNano: String(now - BigInt(i) * 50_000_000n + 3_000_000n),
    status: { code: 2, message: hostile }, attributes: [attr(hostile, '<img src=x onerror=window.pwned=1>'), attr('error.type', hostile)],
  }))
  const body = { resourceSpans: [{ resource: { attributes: [attr('service.name', hostile), attr('service.version', '"><img src=x onerror=window.pwned=1>')] }, scopeSpans: [{ spans }] }] }
  const res = await fetch(otlp + '/v1/traces', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
  ok('OTLP accepted', res.ok, `status ${res.status}`)
  for (let i = 0; i < 40; i++) {
    if ((await get('/overview')).services?.some((s) => s.name === hostile)) return
    await sleep(500)
  }
  ok('it shows in the overview', false, 'not within 20 s')
})

const overview = await get('/overview')
const services = overview.services ?? []
const incidents = (await get('/incidents')).incidents ?? []
const failedTraces = (await get('/traces?error=true&limit=200')).traces ?? []
const traces = (await get('/traces?limit=20')).traces ?? []
const incident = incidents.find((i) => i.hasReport && i.state === 'open') ?? incidents.find((i) => i.hasReport) ?? incidents[0]
const review = (overview.routes ?? []).find((r) => r.review?.pending)
const busy = services.find((s) => s.name === review?.service) ?? services.find((s) => s.kind === 'service' && s.versions?.length > 1) ?? services.find((s) => s.kind === 'service' && s.rate > 0 && s.name !== hostile) ?? services[0]
const most = (all) => [...all].sort((a, b) => (b.services?.length ?? 0) - (a.services?.length ?? 0))[0]
const trace = most(failedTraces) ?? most(traces)
const leak = incidents.find((i) => i.symptoms?.some((s) => s.metric === 'goroutine_leak'))
// Somebody with a finding, open if possible; else whoever has vitals at all.
const sickest = async () => {
  let worst = null
  for (const s of (await get('/overview')).services?.filter((s) => s.kind === 'service') ?? []) {
    const v = await get(`/services/${encodeURIComponent(s.name)}/vitals`).catch(() => null)
    const findings = v?.findings ?? []
    const one = { name: s.name, open: findings.filter((f) => f.state === 'open').length, all: findings.length, locks: v?.locks?.length ?? 0, marked: s.findings > 0 }
    if (v && (worst === null || one.open > worst.open || (one.open === worst.open && one.all > worst.all))) worst = one
  }
  return worst
}
const sick = await sickest()
const evil = services.find((s) => s.name.includes('<script'))

const words = {
  en: { overview: 'Overview', topology: 'Topology', traces: 'Traces', incidents: 'Incidents', owner: 'Owner', runbook: 'Runbook', live: 'Live', none: 'No telemetry yet', nowhere: 'No such page', charts: 'Requests per second', waterfall: 'Waterfall', chain: 'Error chain', timeline: 'Timeline', stale: 'Stale since', vitals: 'Vitals', locks: 'Locks', since: 'since ', symptoms: 'Symptoms', metric: 'goroutine leak' },
  zh: { overview: '总览', topology: '拓扑', traces: '链路', incidents: '故障', owner: '负责人', runbook: '处置手册', live: '实时', none: '还没有收到遥测数据', nowhere: '没有这个页面', charts: '每秒请求数', waterfall: '瀑布图', chain: '错误链', timeline: '时间线', stale: '起数据停更', vitals: '运行体征', locks: '锁', since: '始于', symptoms: '症状', metric: '协程泄漏' },
}

const home = mkdtempSync(path.join(os.tmpdir(), 'surefoot-e2e-'))
const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
let profile = 0
// fresh opens a browser of its own with an empty profile and watches all it says.
async function fresh({ lang = 'en', theme = 'light', viewport = { width: 1440, height: 900 } } = {}) {
  const context = await chromium.launchPersistentContext(path.join(home, 'p' + profile++), {
    executablePath, args: flags, headless: true, chromiumSandbox: false, viewport, acceptDownloads: true, locale: lang === 'zh' ? 'zh-CN' : 'en-US', colorScheme: theme, reducedMotion: 'reduce',
  })
  const watch = { bad: [], quiet: false }
  context.on('console', (m) => (m.type() === 'error' || m.type() === 'warning') && !watch.quiet && watch.bad.push(`${m.type()}: ${m.text()} (${m.location().url})`))
  context.on('weberror', (e) => watch.bad.push('exception: ' + e.error().stack))
  context.on('request', (r) => new URL(r.url()).origin !== base && !r.url().startsWith('blob:') && watch.bad.push('request to elsewhere: ' + r.url()))
  await context.addInitScript(() => {
    window.violations = []
    document.addEventListener('securitypolicyviolation', (e) => window.violations.push(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`))
  })
  const page = context.pages()[0] ?? (await context.newPage())
  page.setDefaultTimeout(15_000)
  const clean = async (name) => {
    const violations = await page.evaluate(() => window.violations.splice(0))
    ok(`${name}: no policy violation`, violations.length === 0, violations.join(' | '))
    ok(`${name}: no console error`, watch.bad.length === 0, watch.bad.splice(0).join(' | '))
    ok(`${name}: no hostile script ran`, (await page.evaluate(() => window.pwned)) === undefined)
  }
  return { context, page, watch, clean }
}

async function accessible(page, name) {
  await page.evaluate(axe)
  const found = await page.evaluate(async () => {
    const r = await window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa'], resultTypes: ['violations'] })
    return r.violations.map((v) => `${v.impact} ${v.id}: ${v.nodes.slice(0, 3).map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? n.all[0]?.message ?? '')).join('; ')}`)
  })
  ok(`${name}: accessible`, found.length === 0, found.join(' || '))
}

// says waits for a text: what is fetched comes when it comes.
const says = (page, text, limit = 8000) => page.waitForFunction((t) => document.body.innerText.includes(t), text, { timeout: limit }).then(() => true, () => false)

const pages = (w) => [
  { name: 'overview', at: '/', text: services.length > 0 ? [w.overview, w.owner, services[0].name] : [w.overview, w.none], wait: services.length > 0 ? 'table.services tbody tr' : '#none' },
  { name: 'topology', at: '/topology', text: [w.topology], wait: services.length > 0 ? '.node' : undefined },
  busy && { name: 'service', at: '/services/' + encodeURIComponent(busy.name), text: [busy.name, w.runbook], wait: busy.kind === 'service' && busy.rate > 0 ? '.chart canvas' : '#runbook' },
  sick && { name: 'vitals', at: '/services/' + encodeURIComponent(sick.name), text: [sick.name, w.vitals, w.locks, ...(sick.all > 0 ? [w.since] : [])], wait: '#vitals' },
  { name: 'traces', at: '/traces', text: [w.traces], wait: traces.length > 0 ? 'table.traces tbody tr' : '.empty, #none' },
  trace && { name: 'trace', at: '/traces/' + trace.traceId, text: [w.waterfall, ...(trace.errors > 0 ? [w.chain] : [])], wait: '.wf-row' },
  { name: 'incidents', at: '/incidents', text: [w.incidents], wait: incidents.length > 0 ? '.band' : '.empty' },
  leak && { name: 'leak', at: '/incidents/' + encodeURIComponent(leak.id), text: [w.timeline, w.symptoms, w.metric], wait: leak.hasReport ? '#diagnosis' : '.timeline' },
  incident && { name: 'incident', at: '/incidents/' + encodeURIComponent(incident.id), text: [w.timeline], wait: incident.hasReport ? '.verdict, .evidence, #diagnosis' : '.timeline' },
  evil && { name: 'hostile', at: '/services/' + encodeURIComponent(evil.name), text: [evil.name] },
  { name: 'nowhere', at: '/no/such/page', text: [w.nowhere] },
].filter(Boolean)
if (!incident) skip('incident', 'there is none')
else if (!incident.hasReport) skip('report', 'no incident has one')
if (!sick) skip('vitals', 'no service says anything of its own health')
if (!leak) skip('leak', 'no incident has a finding as a symptom')
if (!trace) skip('traces', 'there are none')
if (!evil) skip('hostile', 'no service has a hostile name; give --otlp to send one')

for (const lang of ['en', 'zh']) for (const theme of ['light', 'dark']) await step(`every page, ${lang}, ${theme}`, async () => {
  const { context, page, clean } = await fresh({ lang, theme })
  const w = words[lang]
  for (const p of pages(w)) {
    const name = `${p.name} ${lang} ${theme}`
    await page.goto(base + p.at)
    await page.locator('h1').first().waitFor()
    await page.locator('.light-live').waitFor()
    if (p.wait) await page.locator(p.wait).first().waitFor({ state: 'attached' }).catch(() => ok(`${name}: shows ${p.wait}`, false))
    for (const t of p.text) ok(`${name}: says ${t}`, await says(page, t), (await page.locator('body').innerText()).slice(0, 300).replace(/\s+/g, ' '))
    const text = await page.locator('body').innerText()
    ok(`${name}: live`, text.includes(w.live))
    ok(`${name}: language`, (await page.locator('html').getAttribute('lang')) === (lang === 'zh' ? 'zh-CN' : 'en'))
    const dark = await page.evaluate(() => {
      const [r, g, b] = getComputedStyle(document.documentElement).backgroundColor.match(/[\d.]+/g).map(Number)
      return r + g + b < 200
    })
    ok(`${name}: theme`, dark === (theme === 'dark'))
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    ok(`${name}: does not scroll sideways`, wide <= 0, `${wide} px`)
    ok(`${name}: nothing reads undefined or NaN`, !/\b(undefined|NaN|\[object)\b/.test(text), /.{0,40}\b(undefined|NaN|\[object).{0,40}/.exec(text)?.[0])
    if (lang === 'zh') {
      const frame = (await page.locator('header.top, h2, thead, dt:not(.pairs dt)').allInnerTexts()).join(' ')
      const english = /\b(Loading|Owner|Requests|Errors|Overview|Traces|Incidents|Service|Version|State)\b/.exec(frame)
      ok(`${name}: no English left in the frame`, english === null, english?.[0])
    }
    if ((lang === 'en') === (theme === 'light')) await accessible(page, name)
    if (shots) {
      await sleep(300)
      await page.screenshot({ path: path.join(shots, `${p.name}-${lang}-${theme}.png`), fullPage: ['service', 'vitals', 'incident', 'leak'].includes(p.name) })
    }
    await clean(name)
  }
  await context.close()
})

await step('live numbers move', async () => {
  const { context, page, clean } = await fresh()
  await page.goto(base)
  const clock = page.locator('.light .clock')
  await page.locator('.light-live').waitFor()
  const before = await clock.innerText()
  await page.waitForFunction((b) => document.querySelector('.light .clock')?.textContent !== b, before, { timeout: 6000 })
  passed++
  await clean('live')
  await context.close()
})

await step('language and theme are switched and remembered', async () => {
  const { context, page, clean } = await fresh()
  await page.goto(base + '/incidents')
  await page.locator('[data-lang=zh]').click()
  await page.locator('[data-theme-choice=dark]').click()
  await page.reload()
  ok('Chinese after a reload', await says(page, words.zh.incidents) && (await page.locator('h1').innerText()) === words.zh.incidents)
  ok('dark after a reload', (await page.evaluate(() => document.documentElement.dataset.theme)) === 'dark')
  await page.locator('[data-theme-choice=system]').click()
  ok('back to the system', (await page.evaluate(() => document.documentElement.dataset.theme)) === undefined)
  await clean('switches')
  await context.close()
})

await step('a cut stream is seen, and so is its return', async () => {
  const { context, page, watch, clean } = await fresh()
  await page.goto(base)
  await page.locator('.light-live').waitFor()
  watch.quiet = true // the browser itself reports refused connections
  setCut(true)
  await page.locator('.light-stale').waitFor({ timeout: 12_000 })
  ok('says since when', (await page.locator('.light-stale').innerText()).includes(words.en.stale))
  ok('says so in plain words', (await page.locator('.stale-bar').innerText()).includes('Trying to reconnect'))
  await accessible(page, 'stale')
  if (shots) await page.screenshot({ path: path.join(shots, 'stale-en-light.png') })
  await page.getByRole('link', { name: words.en.incidents }).first().click()
  await page.locator('.trouble').waitFor()
  ok('a page that cannot be read says why', (await page.locator('.trouble').innerText()).includes('does not answer'))
  setCut(false)
  await page.locator('.light-live').waitFor({ timeout: 20_000 })
  watch.quiet = false
  await clean('cut')
  await context.close()
})

if (services.length > 0) await step('the topology holds still and is usable by keyboard', async () => {
  const { context, page, clean } = await fresh()
  await page.goto(base + '/topology')
  await page.locator('.node').first().waitFor()
  const places = () => page.evaluate(() => Object.fromEntries([...document.querySelectorAll('.node')].map((n) => [n.dataset.node, n.getAttribute('transform')])))
  const before = await places()
  const text = await page.locator('.canvas').textContent()
  await page.waitForFunction((t) => document.querySelector('.canvas')?.textContent !== t, text, { timeout: 8000 }).catch(() => undefined) // an idle system does not change
  const after = await places()
  if (Object.keys(after).length === Object.keys(before).length) ok('nodes stay where they are', JSON.stringify(after) === JSON.stringify(before))
  await page.locator('.node[tabindex="0"]').focus()
  if ((await page.locator('.edge').count()) > 0) {
    const was = await page.evaluate(() => document.activeElement.dataset.node)
    const ways = ['ArrowRight', 'ArrowDown', 'ArrowUp', 'ArrowLeft']
    for (const way of ways) await page.keyboard.press(way)
    await page.keyboard.press('ArrowRight')
    ok('arrow keys move the focus', (await page.evaluate(() => document.activeElement.dataset.node)) !== undefined, was)
  }
  const scale = () => page.evaluate(() => document.querySelector('.canvas > g').getAttribute('transform'))
  const s0 = await scale()
  const moved = (from) => page.waitForFunction((f) => document.querySelector('.canvas > g').getAttribute('transform') !== f, from, { timeout: 4000 }).then(() => true, () => false)
  await page.keyboard.press('+')
  ok('+ zooms', await moved(s0))
  const zoomed = await scale()
  await page.keyboard.press('0')
  ok('0 shows all', await moved(zoomed))
  const s1 = await scale()
  const box = await page.locator('.canvas').boundingBox()
  await page.mouse.move(box.x + 20, box.y + 20)
  await page.mouse.down()
  await page.mouse.move(box.x + 120, box.y + 60, { steps: 4 })
  await page.mouse.up()
  ok('dragging pans', (await moved(s1)) && page.url().endsWith('/topology'))
  const name = await page.evaluate(() => document.activeElement.closest('.node')?.dataset.node ?? document.querySelector('.node').dataset.node)
  await page.locator(`.node[data-node=${JSON.stringify(name)}]`).focus()
  await page.keyboard.press('Enter')
  await page.waitForURL('**/services/**')
  ok('Enter opens the service', await page.locator('h1.name').filter({ hasText: name }).waitFor().then(() => true, () => false))
  await page.goBack()
  await page.getByRole('button', { name: 'Table' }).click()
  await page.locator('.card table, .empty').first().waitFor()
  ok('the same as a table', (await page.locator('.card table, .empty').count()) > 0)
  await accessible(page, 'topology table')
  await clean('topology')
  await context.close()
})

if (trace) await step('search, waterfall and span by hand', async () => {
  const { context, page, clean } = await fresh()
  await page.goto(base + '/traces')
  await page.locator('table.traces').waitFor()
  await page.getByLabel('Only failed').check()
  await page.getByRole('button', { name: 'Search' }).click()
  await page.waitForURL('**error=true**')
  await page.locator('table.traces, .empty').first().waitFor()
  await page.goto(base + '/traces/' + trace.traceId)
  await page.locator('.wf-row').first().focus()
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('Enter')
  await page.locator('#span').waitFor()
  await page.waitForURL('**?span=**')
  ok('the span is shown', (await page.locator('.detail').innerText()).includes('Attributes'))
  if (shots) await page.screenshot({ path: path.join(shots, 'trace-span-en-light.png'), fullPage: true })
  await page.reload()
  await page.locator('.wf-row.chosen').first().waitFor() // the spans are fetched anew, and a count does not wait
  ok('the address brings the same span back', (await page.locator('.wf-row.chosen').count()) === 1)
  await page.goto(base + '/traces')
  await page.getByLabel('Trace id').fill('xyz')
  await page.getByRole('button', { name: 'Open', exact: true }).click()
  ok('a bad trace id is told', (await page.locator('.wrong').innerText()).includes('32 hex'))
  await page.getByLabel('Trace id').fill(trace.traceId.toUpperCase())
  await page.getByRole('button', { name: 'Open', exact: true }).click()
  await page.locator('.wf-row').first().waitFor()
  await clean('trace')
  await context.close()
})

if (incident?.hasReport) await step('from the incident to its evidence and its file', async () => {
  const { context, page, clean } = await fresh()
  await page.goto(base + '/incidents/' + encodeURIComponent(incident.id))
  await page.locator('#diagnosis').waitFor()
  await page.locator('.fold summary').click()
  ok('the report is drawn', (await page.locator('.fold .md').innerText()).length > 40)
  ok('no HTML from the report', (await page.locator('.md script, .md img, .md iframe').count()) === 0)
  const links = await page.locator('.md a').evaluateAll((all) => all.map((a) => a.getAttribute('href')).filter((h) => !/^(https?:\/\/|mailto:|\/|#)/.test(h)))
  ok('no unsafe link from the report', links.length === 0, links.join(' '))
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download .md' }).click()])
  ok('the report is downloaded as Markdown', file.suggestedFilename().endsWith('.md') && readFileSync(await file.path(), 'utf8').includes('#'), file.suggestedFilename())
  const evidence = page.locator('.evidence a')
  if ((await evidence.count()) > 0) {
    await evidence.first().click()
    await page.waitForURL('**/traces/**')
    await page.locator('.wf-row, .trouble').first().waitFor()
    ok('evidence leads to a trace', (await page.locator('.wf-row').count()) > 0)
  } else skip('evidence', 'the report names no trace')
  await clean('incident')
  await context.close()
})

if (evil) await step('hostile names are text', async () => {
  const { context, page, clean } = await fresh()
  for (const at of ['/', '/topology', '/services/' + encodeURIComponent(evil.name), '/traces?service=' + encodeURIComponent(evil.name)]) {
    await page.goto(base + at)
    await page.locator('.light-live').waitFor()
    await page.locator('table.services tbody tr, .node, #runbook, table.traces tbody tr, main .empty').first().waitFor({ state: 'attached' })
    ok(`${at}: the name is shown`, await page.waitForFunction((n) => document.body.textContent.includes(n), evil.name, { timeout: 8000 }).then(() => true, () => false))
    ok(`${at}: no element came from it`, (await page.locator('body script, body img:not([src="/favicon.svg"])').count()) === 0)
    await clean(at)
  }
  const first = page.locator('table.traces tbody a').first()
  if ((await first.count()) > 0) {
    await first.click()
    await page.locator('.wf-row').first().click()
    await page.locator('#span').waitFor()
    ok('span detail is text', (await page.locator('.detail').textContent()).includes('<'))
    if (shots) await page.screenshot({ path: path.join(shots, 'hostile-trace-en-light.png') })
    await clean('hostile trace')
  }
  await context.close()
})

if (sick) await step('vitals by hand', async () => {
  const { context, page, clean } = await fresh()
  const sick = await sickest() // anew: findings close while the pages above are visited
  await page.goto(base + '/')
  await page.locator('table.services tbody tr').first().waitFor()
  if (sick.marked) ok('the list marks who has a finding', await says(page, sick.open === 1 ? '1 finding' : `${sick.open} findings`))
  await page.goto(base + '/services/' + encodeURIComponent(sick.name))
  await page.locator('#vitals').waitFor()
  await page.locator('.vital-charts .chart canvas, .card:has(#vitals) .empty').first().waitFor()
  if (sick.all > 0) {
    await page.locator('.finding').first().waitFor()
    ok('every finding is shown', (await page.locator('.finding').count()) >= sick.all)
    ok('open ones come first and look it', (await page.locator('.finding').first().getAttribute('class')).includes('finding-open') === sick.open > 0)
  } else ok('no finding is said in words', await says(page, 'no finding now'))
  if (sick.open > 0) {
    await page.locator('.notice a[href="#vitals"]').focus()
    await page.keyboard.press('Enter')
    ok('the notice leads to them', await page.waitForFunction(() => document.querySelector('#vitals').getBoundingClientRect().top < innerHeight, null, { timeout: 4000 }).then(() => true, () => false))
  }
  if (sick.locks > 0) ok('locks are a table', (await page.locator('.card:has(#locks) tbody tr').count()) > 0)
  else ok('no lock is said in words', await says(page, 'Nobody waited'))
  ok('no element came from a finding', (await page.locator('.finding script, .finding img, .card:has(#locks) img, .card:has(#locks) script').count()) === 0)
  const trace = page.locator('.finding a[href^="/traces/"]').first()
  if ((await trace.count()) > 0) {
    await trace.click()
    await page.waitForURL('**/traces/**')
    await page.locator('.wf-row, .trouble').first().waitFor()
    passed++
  }
  await clean('vitals')
  await context.close()
})

if (!review) skip('review', 'no release is pending review')
else await step('a pending review asks for a name', async () => {
  const { context, page, clean } = await fresh()
  await page.goto(base + '/services/' + encodeURIComponent(review.service))
  await page.getByRole('button', { name: /Clear for traffic/ }).click()
  await page.getByRole('button', { name: 'Clear the mark' }).click()
  ok('no name, no clearing', (await page.locator('.form .wrong').innerText()).includes('name is needed'))
  await accessible(page, 'clear form')
  if (shots) await page.screenshot({ path: path.join(shots, 'clear-en-light.png') })
  if (cli.values.clear) {
    await page.getByLabel('Your name').fill(cli.values.clear)
    await page.getByLabel('What was found and fixed').fill('found by the end-to-end test')
    await page.getByRole('button', { name: 'Clear the mark' }).click()
    await page.getByText('The mark is cleared.').waitFor()
    await page.locator('.pending').waitFor({ state: 'detached' })
    passed++
  }
  await clean('review')
  await context.close()
})

await step('a phone', async () => {
  const { context, page, clean } = await fresh({ viewport: { width: 390, height: 844 }, theme: 'dark' })
  for (const p of pages(words.en)) {
    await page.goto(base + p.at)
    await page.locator('.light-live').waitFor()
    if (p.wait) await page.locator(p.wait).first().waitFor({ state: 'attached' }).catch(() => ok(`${p.name} on a phone: shows ${p.wait}`, false))
    await sleep(300) // what is fetched later must not widen it either
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    ok(`${p.name} on a phone: does not scroll sideways`, wide <= 0, `${wide} px`)
    if (shots && ['overview', 'incident', 'trace', 'vitals', 'leak'].includes(p.name)) await page.screenshot({ path: path.join(shots, `phone-${p.name}.png`) })
    await clean(`phone ${p.name}`)
  }
  await context.close()
})

relay.close()
for (const s of open) s.destroy()
rmSync(home, { recursive: true, force: true, maxRetries: 5 })
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)
process.exit(failed === 0 ? 0 : 1)
