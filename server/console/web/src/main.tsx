import { render } from 'preact'
import { App } from './app'
import * as history from './history'
import * as live from './live'
import * as router from './router'
import './styles/base.css'
import './styles/parts.css'
import './styles/pages.css'

router.start()
live.start()
history.start()
const root = document.getElementById('app')
if (root) render(<App />, root)
