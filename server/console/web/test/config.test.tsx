import { render } from 'preact-render-to-string'
import { describe, expect, it } from 'vitest'
import { chooseLang } from '../src/i18n'
import * as shape from '../src/normalize'
import { Instances, Settings } from '../src/parts/config'

const good = {
  keys: [{ key: 'client/bank', value: '{"timeout":"2s"}', revision: 118, by: 'ana', why: 'slow', at: '2026-11-23T04:05:06Z' }],
  applied: [
    { instance: 'a', version: 'v1', key: 'client/bank', revision: 118, refused: 0 },
    { instance: 'b', version: 'v1', key: 'client/bank', revision: 97, refused: 0 },
    { instance: 'c', version: 'v2', key: 'client/bank', revision: 97, refused: 118 },
  ],
  pushes: [
    { id: 'p-2', key: 'client/bank', stage: 'one', instances: ['a'], since: '2026-11-23T04:05:06Z', by: 'ana', diff: [{ path: 'timeout', before: '900ms', after: '2s' }], state: 'running' },
    { id: 'p-1', key: 'limits', stage: 'share', share: 25, since: '2026-11-23T04:05:06Z', by: 'li', state: 'rolled_back', reason: 'error share 12 %', reasonZh: '错误率 12 %' },
  ],
}

const page = (v: unknown): string => render(<Settings service="payment" data={shape.config(v)} />)

describe('configuration', () => {
  it.each([null, undefined, 3, 'x', [], {}, { keys: {}, applied: [null], pushes: 'x' }, { keys: [1], pushes: [null] }])('nothing breaks on %j', (v) => {
    expect(() => page(v)).not.toThrow()
    expect(() => render(<Instances all={shape.instances(v)} />)).not.toThrow()
  })
  it('says what there is, who runs it, and what a push does, in either language', () => {
    const english = page(good)
    for (const want of ['client/bank', '118', 'slow', 'refused 118', 'another revision', 'current', '1 push under way', 'one instance runs it: a', 'rolled back', 'error share 12 %', 'surefoot config abort payment client/bank --by NAME']) expect(english).toContain(want)
    chooseLang('zh')
    const chinese = page(good)
    chooseLang('en')
    for (const want of ['配置', '拒绝了修订 118', '一个实例正在使用：a', '已自动回滚', '错误率 12 %']) expect(chinese).toContain(want)
  })
  it('those that refuse or lag behind come first', () => {
    const rows = page(good).split('Who runs what')[1]!
    expect(rows.indexOf('refused 118')).toBeLessThan(rows.indexOf('another revision'))
    expect(rows.indexOf('another revision')).toBeLessThan(rows.indexOf('current'))
  })
  it('words of a service stay text', () => {
    const evil = '<img src=x onerror=alert(1)>'
    const html = page({ keys: [{ key: evil, value: evil, by: evil, why: evil }], applied: [{ instance: evil, version: evil, key: evil }], pushes: [{ id: '1', key: evil, by: evil, why: evil, reason: evil, stage: evil, diff: [{ path: evil, before: evil, after: evil }] }] })
    expect(html).not.toContain('<img')
  })
  it('a thousand instances are counted, not drawn', () => {
    const many = Array.from({ length: 1000 }, (_, i) => ({ instance: 'i' + i, key: 'k', revision: 1 }))
    expect(page({ applied: many })).toContain('and 950 more')
    expect(render(<Instances all={shape.instances({ instances: many.map((m) => ({ id: m.instance })) })} />)).toContain('and 950 more')
  })
})
