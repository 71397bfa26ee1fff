// Made-up data in the shapes of /api/v1 for working on the console without a
// control plane: the shop while its bank is down, with hostile names in it.
// Development only; nothing here is part of dist.

export const hostile = '<script>window.pwned=1</script>'
const start = Date.now()
export const iso = (ms) => new Date(ms).toISOString()
const minutes = (n) => n * 60_000
const wave = (seed, now, slow = 47_000) => Math.sin((now + seed * 9_973) / slow) * 0.5 + Math.sin((now + seed * 3_331) / (slow / 7)) * 0.25

const owners = { gateway: 'team-edge', user: 'team-identity', order: 'team-orders', payment: 'team-money', inventory: 'team-stock', bank: 'team-money', warehouse: 'team-stock', 'node-cart': '' }
const bases = [
  // name, kind, state, rate, errors, p50, p99, versions
  ['gateway', 'service', 'warn', 20, 0.004, 24, 310, ['v1']],
  ['user', 'service', 'ok', 20, 0, 1.8, 9, ['v1']],
  ['order', 'service', 'warn', 20, 0.011, 19, 290, ['v1']],
  ['payment', 'service', 'bad', 20.2, 0.31, 6, 1020, ['v1', 'v2']],
  ['inventory', 'service', 'ok', 20.1, 0, 4.2, 18, ['v1']],
  ['bank', 'external', 'bad', 3.4, 1, 1000, 1004, []],
  ['warehouse', 'external', 'ok', 20.1, 0, 2.1, 11, []],
  ['orders-db', 'database', 'ok', 61, 0, 0.4, 3.1, []],
  ['node-cart', 'service', 'warn', 4, 0.25, 23, 121, ['1.4.2']],
  ['legacy-db', 'external', 'bad', 4, 0.25, 18, 114, []],
  ['结算对账中心服务', 'service', 'ok', 0.4, 0, 220, 1900, ['2026.11']],
  [hostile, 'service', 'idle', 0, 0, 0, 0, ['"><img src=x onerror=alert(1)>']],
]
const ties = [
  ['gateway', 'user', 'http', 20, 0, 2.2, 11, true],
  ['gateway', 'order', 'grpc', 20, 0.011, 20, 300, true],
  ['order', 'payment', 'grpc', 20.2, 0.31, 7, 1022, false],
  ['order', 'inventory', 'grpc', 20.1, 0, 5, 20, true],
  ['order', 'orders-db', 'db', 61, 0, 0.4, 3.1, true],
  ['payment', 'bank', 'http', 3.4, 1, 1000, 1004, true],
  ['inventory', 'warehouse', 'http', 20.1, 0, 2.1, 11, true],
  ['node-cart', 'legacy-db', 'db', 4, 0.25, 18, 114, true],
  ['结算对账中心服务', 'bank', 'http', 0.1, 1, 1000, 1003, false],
]

const node = (b, now, i) => {
  const [name, kind, state, rate, errors, p50, p99, versions] = b
  const w = 1 + 0.08 * wave(i, now)
  const stats = { rate: rate * w, errorShare: Math.min(1, errors * (errors === 1 ? 1 : w)), p50Ms: p50 * w, p99Ms: p99 * w }
  return {
    name, kind, state, owner: owners[name] ?? '', ...stats, findings: findings(name, now).filter((f) => f.state === 'open').length,
    versions: versions.map((version, v) => ({ version, ...stats, rate: versions.length > 1 ? stats.rate * (v === 0 ? 0.9 : 0.1) : stats.rate, errorShare: v === 1 ? 0.052 : stats.errorShare })),
  }
}
const edge = (e, now, i) => {
  const [from, to, protocol, rate, errors, p50, p99, strong] = e
  const w = 1 + 0.08 * wave(i + 40, now)
  const far = bases.find((b) => b[0] === to)
  return { from, to, protocol, rate: rate * w, errorShare: errors, p50Ms: p50 * w, p99Ms: p99 * w, strong, external: far[1] === 'external', state: errors > 0.2 ? 'bad' : errors > 0.005 ? 'warn' : 'ok' }
}

export const topology = (now = Date.now()) => ({ at: iso(now), nodes: bases.map((b, i) => node(b, now, i)), edges: ties.map((e, i) => edge(e, now, i)) })

const failedTraces = [3, 7, 11, 15].map((i) => traceId(i))
function traceId(i) {
  return (0x4bf92f3577b34da6n + BigInt(i) * 0x1f3a7c9d5b2e4f1n).toString(16).padStart(16, '0') + (0xa3ce929d0e0e4736n + BigInt(i * 7919)).toString(16).slice(-16)
}

// What payment v2 says of itself: a leak, growth with hostile words in it, and
// descriptors that were mended.
const leaking = start - minutes(3)
function findings(name, now = Date.now()) {
  if (name !== 'payment') return []
  const count = Math.round((now - leaking) / 50)
  const text = `+${count} goroutines created at payment/receipts.go:39 by payment.(*receipts).number, blocked 2 min on channel send at payment/receipts.go:41, first seen in v2, trace ${traceId(3)}`
  const blank = { service: name, version: 'v2', instance: 'payment-2', at: iso(now - 12_000), closedAt: null, expired: false, limit: 0, count: 0, created: '', creator: '', blocked: '', wait: '', waitSeconds: 0, method: 'growth', traceId: '' }
  return [
    {
      ...blank, id: 'g-1', kind: 'goroutines', metric: 'goroutine_leak', state: 'open', since: iso(leaking), value: count + 41, before: 41, perMinute: 1200, unit: 'count', count,
      created: 'payment/receipts.go:39', creator: 'payment.(*receipts).number', blocked: 'payment/receipts.go:41', wait: 'chan send', waitSeconds: 120, method: 'leak profile', traceId: traceId(3),
      text, textZh: `多出 ${count} 个协程，由 payment.(*receipts).number 在 payment/receipts.go:39 创建，在 payment/receipts.go:41 的通道发送处阻塞 2 分钟，首见于 v2，链路 ${traceId(3)}`,
    },
    {
      ...blank, id: 'h-1', kind: 'heap', metric: 'heap_growth', state: 'open', since: iso(leaking + 40_000), value: 96e6, before: 22e6, perMinute: 18.4e6, unit: 'bytes',
      created: hostile, creator: '"><img src=x onerror=alert(1)>', text: `live heap grows by 18.4 MB a minute, most of it allocated at ${hostile}`, textZh: `存活堆内存每分钟增长 18.4 MB，主要分配于 ${hostile}`,
    },
    {
      ...blank, id: 'd-1', kind: 'descriptors', metric: 'descriptor_leak', state: 'closed', version: 'v1', instance: 'payment-1', since: iso(now - minutes(14)), closedAt: iso(now - minutes(9)), value: 212, before: 190, perMinute: 0, limit: 1024, unit: 'count',
      text: 'open descriptors grew from 190 to 871 of 1024', textZh: '打开的描述符从 190 增至 871，上限 1024',
    },
  ]
}

export const vitals = (name) => ({
  service: name, at: iso(Date.now()), windowSeconds: 60, findings: findings(name),
  locks: name === 'payment' ? [
    { name: 'payment.book', kind: 'lock', waitPerSecond: 1.42, waitsPerSecond: 61.5, waits: 18450 },
    { name: 'payment/receipts.go:52', kind: 'site', waitPerSecond: 0.042, waitsPerSecond: 3.2, waits: 960 },
    { name: hostile, kind: 'lock', waitPerSecond: 0.0004, waitsPerSecond: 0.02, waits: 6 },
  ] : null,
  instances: [{ instance: name + '-1', version: 'v1', findings: 0 }],
})

export const config = (name) => name !== 'payment' ? { service: name, keys: null, applied: null, pushes: null } : {
  service: name,
  keys: [
    { key: 'client/bank', value: '{"timeout":"900ms","retry":{"max":1}}', revision: 118, by: 'ana', why: 'the bank is slow today', at: iso(Date.now() - minutes(42)), schema: true },
    { key: 'limits', value: hostile, revision: 97, by: hostile, why: hostile, at: iso(Date.now() - minutes(900)), schema: false },
  ],
  applied: [1, 2, 3, 4].map((n) => ({ instance: 'payment-' + n, version: n === 4 ? 'v2' : 'v1', key: 'client/bank', revision: n === 1 ? 131 : 118, checked: n === 4 ? 118 : 131, refused: n === 4 ? 131 : 0 })),
  pushes: [
    { id: 'p-2', key: 'client/bank', stage: 'one', share: 0, instances: ['payment-1'], since: iso(Date.now() - 21_000), by: 'ana', why: 'give it more time', value: '{"timeout":"2s","retry":{"max":1}}', diff: [{ path: 'timeout', before: '900ms', after: '2s' }], state: 'running', reason: '', reasonZh: '' },
    { id: 'p-1', key: 'limits', stage: 'share', share: 25, instances: [], since: iso(Date.now() - minutes(300)), by: 'li', why: '', value: '{}', diff: [{ path: 'max', before: '20', after: '' }], state: 'rolled_back', reason: 'error share 12.0 %, over 3 %, at those that run it', reasonZh: '使用新值的实例错误率 12.0 %，超过 3 %' },
  ],
}

export const instances = (name) => name !== 'payment' ? null : [1, 2, 3, 4].map((n) => ({ service: name, id: 'payment-' + n, addr: '10.0.0.' + n + ':8080', version: n === 4 ? 'v2' : 'v1', zone: 'b', weight: 1, labels: null }))

const opened = start - minutes(4)
export const incidents = () => [
  {
    id: 'inc-20261123-0412', state: 'open', title: 'bank is failing: payment and order see errors', titleZh: 'bank 异常：payment 与 order 出现错误', severity: 'page',
    openedAt: iso(opened), resolvedAt: null, origin: 'bank', originKind: 'external',
    symptoms: [
      { target: 'bank', metric: 'error_share', value: 1, baseline: 0.001, since: iso(opened - 6000), at: iso(Date.now()) },
      { target: 'payment', metric: 'error_share', value: 0.31, baseline: 0, since: iso(opened - 5000), at: iso(Date.now()) },
      { target: 'payment', metric: 'latency_p99', value: 1020, baseline: 34, since: iso(opened - 4000), at: iso(Date.now()) },
    ],
    services: ['bank', 'payment', 'order'], owner: 'team-money', hasReport: true,
    timeline: [
      { at: iso(opened - 6000), text: 'bank: error share 100% (usually 0.1%)', textZh: 'bank：错误率 100%（平时 0.1%）' },
      { at: iso(opened), text: 'incident opened', textZh: '故障开启' },
      { at: iso(opened + 3000), text: 'payment: breaker to bank opened, fallback answers "pending"', textZh: 'payment：到 bank 的熔断器断开，降级应答“待支付”' },
      { at: iso(opened + 9000), text: 'diagnosis: origin is bank', textZh: '诊断：根源是 bank' },
    ],
  },
  {
    id: 'inc-20261123-0418', state: 'open', title: 'payment v2 leaks goroutines at payment/receipts.go:41', titleZh: 'payment v2 在 payment/receipts.go:41 泄漏协程', severity: 'warn',
    openedAt: iso(leaking), resolvedAt: null, origin: 'payment', originKind: 'service',
    symptoms: ((f) => [
      { target: 'payment', metric: 'goroutine_leak', value: f[0].value, baseline: 41, unit: 'count', since: f[0].since, at: f[0].at, finding: { version: 'v2', text: f[0].text, textZh: f[0].textZh, traceId: traceId(3) } },
      { target: 'payment', metric: 'heap_growth', value: 96e6, baseline: 22e6, unit: 'bytes', since: f[1].since, at: f[1].at, finding: { version: 'v2', text: f[1].text, textZh: f[1].textZh, traceId: '' } },
    ])(findings('payment')),
    services: ['payment'], owner: 'team-money', hasReport: true,
    timeline: [{ at: iso(leaking), text: 'payment v2: goroutine leak', textZh: 'payment v2：协程泄漏' }, { at: iso(leaking + 2000), text: 'diagnosis: origin is payment', textZh: '诊断：根源是 payment' }],
  },
  {
    id: 'inc-20261123-0215', state: 'resolved', title: 'warehouse is slow', titleZh: 'warehouse 变慢', severity: 'warn',
    openedAt: iso(start - minutes(131)), resolvedAt: iso(start - minutes(124)), origin: 'warehouse', originKind: 'external',
    symptoms: [{ target: 'warehouse', metric: 'latency_p99', value: 2400, baseline: 11, since: iso(start - minutes(131)), at: iso(start - minutes(124)) }],
    services: ['warehouse', 'inventory'], owner: 'team-stock', hasReport: false,
    timeline: [{ at: iso(start - minutes(131)), text: 'incident opened', textZh: '故障开启' }, { at: iso(start - minutes(124)), text: 'incident resolved', textZh: '故障恢复' }],
  },
  {
    id: 'inc-20261122-1900', state: 'resolved', title: `${hostile} has errors`, titleZh: `${hostile} 出现错误`, severity: 'warn',
    openedAt: iso(start - minutes(60 * 30)), resolvedAt: iso(start - minutes(60 * 30 - 3)), origin: '', originKind: '', symptoms: [], services: [], owner: '', timeline: null, hasReport: false,
  },
]

const runbookBank = `## When the bank does not answer

1. Look at the [bank's status page](https://status.bank.example/) and call the hotline if it says nothing.
2. Orders are **still accepted** as \`payment_pending\`; do *not* restart payment, its outbox settles them.
3. Check that the breaker is open:

\`\`\`
surefoot topology --format json | grep bank
\`\`\`

- [x] fallback answers
- [ ] customers told after 30 minutes
`

const leakReport = (zh) => {
  const f = findings('payment')[0]
  const why = { why: 'payment v2 leaks goroutines; no call of it fails', whyZh: 'payment v2 泄漏协程；它的调用没有失败' }
  return {
    incident: 'inc-20261123-0418', at: iso(leaking + 2000), origin: { name: 'payment', kind: 'service', score: 1, ...why }, candidates: [{ name: 'payment', kind: 'service', score: 1, finding: 'goroutine_leak', ...why }],
    evidence: [{ text: f.text, textZh: f.textZh, traceId: f.traceId, at: f.since }], impact: [{ service: 'payment', errorShare: 0, requests: 1212 }], owner: 'team-money',
    runbook: { title: 'Goroutine leak (goroutine_leak)', body: '1. Take the version off traffic.\n2. Stop its processes.\n' },
    markdown: zh ? `# payment v2 泄漏协程\n\n${f.textZh}\n\n## 下一步\n\n1. 将 v2 的流量权重调为 0\n` : `# payment v2 leaks goroutines\n\n${f.text}\n\n## Next steps\n\n1. Take v2 off traffic.\n`,
  }
}

export const report = (lang, id) => {
  const zh = lang === 'zh'
  if (id === 'inc-20261123-0418') return leakReport(zh)
  const evidence = failedTraces.map((traceId, i) => ({
    text: `payment → bank POST /charges failed after 1.0 s: unavailable (${hostile})`, textZh: `payment → bank POST /charges 1.0 秒后失败：unavailable（${hostile}）`,
    traceId, at: iso(opened + i * 1400),
  }))
  const ids = evidence.map((e) => `- ${zh ? e.textZh : e.text}: \`${e.traceId}\``).join('\n')
  return {
    incident: 'inc-20261123-0412', at: iso(opened + 9000),
    origin: { name: 'bank', kind: 'external', score: 0.94, why: 'all 61 calls to it failed in the window, and every failing request ends there', whyZh: '窗口内对它的 61 次调用全部失败，且每个失败请求都止于此处' },
    candidates: [
      { name: 'bank', kind: 'external', score: 0.94, why: 'deepest failing span in 61 of 61 failed traces', whyZh: '61 条失败链路中有 61 条的最深失败点在此' },
      { name: 'payment', kind: 'service', score: 0.05, why: 'fails only when bank fails', whyZh: '仅在 bank 失败时失败' },
    ],
    evidence, impact: [{ service: 'payment', errorShare: 0.31, requests: 1212 }, { service: 'order', errorShare: 0.011, requests: 1200 }, { service: 'gateway', errorShare: 0.004, requests: 1200 }],
    owner: 'team-money', runbook: { title: 'When the bank does not answer', body: runbookBank },
    markdown: zh
      ? `# bank 异常\n\n**根源：bank**（外部依赖），得分 0.94。\n\n## 证据\n\n${ids}\n\n## 影响\n\n| 服务 | 错误率 | 请求数 |\n|---|--:|--:|\n| payment | 31% | 1212 |\n| order | 1.1% | 1200 |\n\n<img src=x onerror=alert(1)>\n\n[不要点](javascript:alert(1))\n\n${runbookBank}`
      : `# bank is failing\n\n**Origin: bank** (external), score 0.94.\n\n## Evidence\n\n${ids}\n\n## Impact\n\n| service | errors | requests |\n|---|--:|--:|\n| payment | 31% | 1212 |\n| order | 1.1% | 1200 |\n\n<img src=x onerror=alert(1)>\n\n[do not click](javascript:alert(1))\n\n${runbookBank}`,
  }
}

let review = { version: 'v2', reason: 'error rate 5.2% over 3% for 30 s (tier=premium)', since: iso(start - minutes(8)), pending: true }
export const clearReview = () => {
  review = null
}
export const routes = () => [
  { service: 'payment', stable: 'v1', canary: 'v2', match: { tier: 'premium' }, weight: 0, revision: 42, rule: { maxErrorShare: 0.03, forSeconds: 30 }, review },
]

export const overview = (now = Date.now()) => ({
  at: iso(now), ready: true, version: 'v0.1.0-mock', services: topology(now).nodes, incidents: incidents(),
  ingest: { spansPerSecond: 214 + 20 * wave(5, now), spans: 1_284_113 + Math.floor((now - start) / 5), logs: 91_220, points: 402_118, refused: 0, droppedBatches: 0 },
  routes: routes(),
})

export const service = (name) => {
  const t = topology()
  const n = t.nodes.find((x) => x.name === name)
  if (!n) return null
  const own = n.kind === 'service'
  const ops = { payment: ['payment.Charge', 'payment.Settle'], order: ['order.Place', 'order.Get'], gateway: ['POST /orders', 'GET /orders/{id}'], user: ['GET /users/{id}'], inventory: ['inventory.Reserve', 'inventory.Release'] }[name] ?? [own ? 'POST /cart' : 'call']
  return {
    ...n,
    operations: own && n.rate > 0 ? ops.map((op, i) => ({ name: op, kind: i === 1 && name === 'payment' ? 'internal' : 'server', rate: n.rate * (i === 0 ? 0.9 : 0.1), errorShare: i === 0 ? n.errorShare : 0, p50Ms: n.p50Ms, p99Ms: n.p99Ms })) : [],
    callers: t.edges.filter((e) => e.to === name), callees: t.edges.filter((e) => e.from === name),
    catalog: owners[name] ? { owner: owners[name], description: `The ${name} of the reference shop.`, lifecycle: 'production', dependsOn: t.edges.filter((e) => e.from === name).map((e) => 'component:default/' + e.to), links: [{ url: 'https://example.com/dash', title: 'Dashboard' }, { url: 'javascript:alert(1)', title: 'Trap' }] } : null,
    runbook: name === 'payment' ? `---\nowner: team-money\n---\n${runbookBank}` : '',
    breakers: name === 'payment' ? [{ target: 'bank', state: 'open', instance: 'payment-1' }, { target: 'bank', state: 'half-open', instance: 'payment-2' }] : name === 'order' ? [{ target: 'payment', state: 'closed', instance: 'order-1' }, { target: 'inventory', state: 'closed', instance: 'order-1' }] : [],
  }
}

const span = (spanId, parentId, service, name, kind, offsetMs, durationMs, at, more = {}) => ({
  spanId, parentId, service, version: 'v1', instance: service + '-1', name, kind, start: iso(at + offsetMs), offsetMs, durationMs, error: false, message: '', attributes: {}, events: [], ...more,
})
const failure = (id, message, at) => ({
  error: true, message, attributes: { 'error.type': id, 'surefoot.op': '' }, events: [{ name: 'exception', at: iso(at), attributes: { 'exception.type': id, 'exception.message': message } }],
})

export const traces = (q) => {
  let all = Array.from({ length: 60 }, (_, i) => {
    const bad = i % 4 === 3
    return {
      traceId: traceId(i), service: 'gateway', name: i % 5 === 0 ? 'GET /orders/{id}' : 'POST /orders', start: iso(Date.now() - i * 41_000 - 2000),
      durationMs: bad ? 1024 + i : 21 + (i * 37) % 90, spans: i % 5 === 0 ? 6 : 14, errors: bad ? 3 : 0, services: ['bank', 'gateway', 'inventory', 'order', 'payment', 'user'].slice(i % 5 === 0 ? 3 : 0),
    }
  })
  all.splice(5, 0, { traceId: 'f'.repeat(32), service: hostile, name: hostile, start: iso(Date.now() - 210_000), durationMs: 3, spans: 2, errors: 1, services: [hostile] })
  all.splice(9, 0, { traceId: 'e'.repeat(32), service: 'gateway', name: 'big batch', start: iso(Date.now() - 350_000), durationMs: 1500, spans: 1200, errors: 0, services: ['gateway', 'user'] })
  if (q.get('service')) all = all.filter((t) => t.services.includes(q.get('service')) || t.service === q.get('service'))
  if (q.get('operation')) all = all.filter((t) => t.name === q.get('operation'))
  if (q.get('error') === 'true') all = all.filter((t) => t.errors > 0)
  if (q.get('minMs')) all = all.filter((t) => t.durationMs >= Number(q.get('minMs')))
  if (q.get('from')) all = all.filter((t) => t.start >= q.get('from'))
  return all.slice(0, Number(q.get('limit') ?? 50))
}

export const trace = (id) => {
  const at = Date.now() - 120_000
  if (id === 'e'.repeat(32)) {
    const spans = [span('r', '', 'gateway', 'big batch', 'server', 0, 1500, at)]
    for (let i = 0; i < 1199; i++) spans.push(span('k' + i, i % 10 === 0 ? 'r' : 'k' + (i - (i % 10)), i % 2 ? 'user' : 'gateway', `step ${i}`, 'internal', i * 1.2, 1 + (i % 9), at))
    return { traceId: id, spans, chain: [] }
  }
  if (id === 'f'.repeat(32)) {
    return { traceId: id, chain: [], spans: [span('1', 'gone', hostile, hostile, 'server', 0, 3, at, { ...failure(hostile, hostile, at), attributes: { [hostile]: '<img src=x onerror=window.pwned=1>', 'db.statement': "select '</script>'" } }), span('2', '1', hostile, 'x', 'internal', 1, 1, at)] }
  }
  if (!/^[0-9a-f]{32}$/.test(id)) return null
  const bad = traces(new URLSearchParams('limit=100')).find((t) => t.traceId === id)?.errors > 0
  const total = bad ? 1029 : 62
  const chargeEnd = bad ? 1010 : 30
  const spans = [
    span('a1', '', 'gateway', 'POST /orders', 'server', 0, total, at, { attributes: { 'http.request.method': 'POST', 'http.route': '/orders', 'http.response.status_code': '201', 'url.path': '/orders', 'sf.tier': 'premium' } }),
    span('a2', 'a1', 'gateway', 'GET user', 'client', 1.2, 3.1, at, { attributes: { 'peer.service': 'user' } }),
    span('a3', 'a2', 'user', 'GET /users/{id}', 'server', 1.9, 1.8, at),
    span('a4', 'a1', 'gateway', 'order.Place', 'client', 5, total - 6, at, { attributes: { 'peer.service': 'order', 'rpc.system': 'grpc' } }),
    span('b1', 'a4', 'order', 'order.Place', 'server', 6, total - 8, at),
    span('b2', 'b1', 'order', 'INSERT orders', 'client', 7, 0.6, at, { attributes: { 'db.system.name': 'sqlite', 'db.query.text': 'INSERT INTO orders (id, user_id, sku, quantity, state) VALUES (?, ?, ?, ?, ?)' } }),
    span('b3', 'b1', 'order', 'inventory.Reserve', 'client', 8, 6, at, { attributes: { 'peer.service': 'inventory' } }),
    span('c1', 'b3', 'inventory', 'inventory.Reserve', 'server', 8.6, 5, at),
    span('c2', 'c1', 'inventory', 'POST /reservations', 'client', 9.4, 3.6, at, { attributes: { 'peer.service': 'warehouse', 'server.address': '127.0.0.1', 'server.port': '17618' } }),
    span('b4', 'b1', 'order', 'payment.Charge', 'client', 15, chargeEnd - 15, at, { attributes: { 'peer.service': 'payment' }, ...(bad ? failure('unavailable', 'the payment could not be made', at + chargeEnd) : {}) }),
    span('d1', 'b4', 'payment', 'payment.Charge', 'server', 16, chargeEnd - 17, at, bad ? failure('unavailable', 'the bank does not answer', at + chargeEnd) : {}),
    span('d2', 'd1', 'payment', 'POST /charges', 'client', 17, chargeEnd - 19, at, { attributes: { 'peer.service': 'bank', 'http.request.method': 'POST', 'url.full': 'http://127.0.0.1:17620/charges' }, ...(bad ? failure('unavailable', 'bank: connection refused', at + chargeEnd) : {}) }),
    span('b5', 'b1', 'order', 'UPDATE orders', 'client', chargeEnd + 2, 0.9, at, { attributes: { 'db.system.name': 'sqlite' } }),
  ]
  return {
    traceId: id, spans,
    chain: bad
      ? [
          { service: 'order', op: 'order.Place', error: 'unavailable', at: iso(at), elapsedMs: chargeEnd - 14 },
          { service: 'payment', op: 'payment.Charge', error: 'unavailable', at: iso(at), elapsedMs: chargeEnd - 17 },
          { service: 'bank', op: 'POST /charges', error: 'unavailable', at: iso(at), elapsedMs: chargeEnd - 19 },
        ]
      : null,
  }
}

export const logs = (q) => {
  const at = Date.now() - 120_000
  const line = (i, service, severity, body) => ({ at: iso(at + i * 230), service, version: 'v1', severity, body, traceId: q.get('traceId') || traceId(3), spanId: 'd2', attributes: severity === 'ERROR' ? { elapsed_us: '1004000', error: JSON.stringify({ cause: 'dial tcp: connection refused', id: 'unavailable', message: 'the bank does not answer' }), target: hostile } : {} })
  const all = [
    line(4, 'payment', 'WARN', 'breaker opened target=bank failures=6 window=10s'),
    line(3, 'payment', 'ERROR', 'charge failed target=bank id=unavailable attempt=3 elapsed=1.004s'),
    line(2, 'order', 'INFO', 'order accepted status=payment_pending order=9f21'),
    line(1, 'order', 'INFO', `note from the customer: ${hostile}`),
    line(0, 'gateway', 'INFO', 'POST /orders 201 1.024s'),
  ]
  return q.get('service') ? all.filter((l) => l.service === q.get('service') && /WARN|ERROR/.test(l.severity)) : q.get('traceId') ? all : []
}

// range answers the console's own PromQL by recognising it, not by parsing it.
export const range = (query, from, to, step) => {
  const vital = /(go_goroutine_count|process_unix_\w+|surefoot_vitals_\w+)\{/.exec(query)?.[1]
  const one = /service_name="((?:[^"\\]|\\.)*)"/.exec(query)?.[1]
  const field = query.includes('histogram_quantile') ? 'p99' : query.includes('STATUS_CODE_ERROR') ? 'errors' : 'rate'
  const lines = []
  for (const b of bases) {
    if (b[1] !== 'service' || b[3] === 0 || (one !== undefined && b[0] !== one)) continue
    for (const [v, version] of (one ? b[7] : ['']).entries()) {
      const values = []
      for (let t = from; t <= to; t += step) {
        const ms = t * 1000
        const w = 1 + 0.14 * wave(v * 31 + b[0].length, ms, 170_000)
        const broken = ms > opened
        const canary = v === 1
        if (canary && vital !== undefined && ms < leaking - minutes(1)) continue
        if (canary && vital === undefined && (ms < start - minutes(13) || ms > start - minutes(8)) && to - from < 7200) continue
        const grown = canary ? Math.max(0, ms - leaking) : 0
        const value = vital !== undefined ? { go_goroutine_count: 41 * w + grown / 50, surefoot_vitals_heap_live_bytes: 22e6 * w + grown * 300, process_unix_file_descriptor_count: 38 * w, surefoot_vitals_gc_pause_p99_seconds: 9e-5 * w, surefoot_vitals_scheduler_latency_p99_seconds: 3e-4 * w }[vital] : field === 'rate' ? b[3] * w * (canary ? 0.12 : 1) : field === 'errors' ? (canary ? 0.05 * w : broken ? b[4] * w : 0.0005) : (broken ? b[6] : Math.min(b[6], b[5] * 6)) * w
        values.push([t, String(value)])
      }
      lines.push({ metric: one ? { service_version: version } : { service_name: b[0] }, values })
    }
  }
  return { status: 'success', data: { resultType: 'matrix', result: lines } }
}
