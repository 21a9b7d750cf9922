"""What a browser makes ready while the page of a study is looked at: the viewer, which is there at once when it is asked for.

Browsers that know speculation rules (Chromium's) load what the rules name into a page that nobody sees, and show it when its
link is followed; others pass over them. The rules are the same text on every page, so that the policy admits them by their
digest; ``static/study.js`` puts them in force once the page itself is there. Removed from the page, what was made ready is
thrown away.
"""

import base64
import hashlib

#: The class of links whose page is made ready.
CLASS = "ahead"
RULES = f'{{"prerender": [{{"where": {{"selector_matches": ".{CLASS}"}}, "eagerness": "immediate"}}]}}'
#: For ``script-src``.
SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(RULES.encode()).digest()).decode()}'"
