"""From the routes file to a table of routes that is in force: reading, checking, compiling, reloading.

The only room that knows jq and YAML. Whoever executes or reports sees compiled templates (`agent.domain.route`)
and gets its own options compiled through `agent.ports.TemplateCompiler`.
"""
