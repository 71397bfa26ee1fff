// Parts that come in a file of their own, fetched when first needed.
import type { ComponentType } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { useT } from '../i18n'
import { Loading } from './basic'

export function lazy<P extends object>(load: () => Promise<{ default: ComponentType<P> }>): (props: P) => preact.JSX.Element {
  let ready: ComponentType<P> | null = null
  return function Lazy(props: P) {
    const t = useT()
    const [state, set] = useState<'wait' | 'ready' | 'failed'>(ready ? 'ready' : 'wait')
    useEffect(() => {
      if (ready) return
      let gone = false
      load().then(
        (m) => {
          ready = m.default
          if (!gone) set('ready')
        },
        () => !gone && set('failed'),
      )
      return () => void (gone = true)
    }, [])
    if (state === 'failed') return <p class="trouble" role="alert">{t.trouble.unreachable} <button type="button" onClick={() => location.reload()}>{t.common.retry}</button></p>
    const Part = ready
    return Part ? <Part {...props} /> : <Loading />
  }
}
