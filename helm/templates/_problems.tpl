{{/* What is wrong with the values, beyond what the schema knows. A template below says nothing where all is well, and
     else a line for each problem: what, and what to do. */}}

{{- define "action-agent.validate" -}}
{{- $found := list -}}
{{- range list "port" "routes" "actions" "settings" "labels" "stopping" "scaling" "ca" "image" "sizes" -}}
  {{- range splitList "\n" (include (printf "action-agent.problems.%s" .) $) -}}
    {{- with trim . }}{{ $found = append $found (printf "  - %s" .) }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- if $found }}{{ fail (printf "the values are not in order:\n%s" (join "\n" $found)) }}{{ end }}
{{- end }}

{{- define "action-agent.problems.port" }}
{{- $id := include "action-agent.clientId" . }}
{{- $secret := include "action-agent.clientSecret" . }}
{{- if not (include "action-agent.orgId" .) }}
port.orgId is missing: the organisation's id, such as org_BneDtWovPqXaA2VZ (in Port: … menu > Organization)
{{- end }}
{{- if and .Values.secret.useExistingSecret (not .Values.secret.name) }}
secret.name is missing: the Secret that is there already, whose keys become variables (secret.useExistingSecret)
{{- end }}
{{- if include "action-agent.hasExistingSecret" . }}
{{- if or .Values.port.clientId .Values.port.clientSecret }}
port.clientId and port.clientSecret are given, and a Secret that is there already too: give one of the two
{{- end }}
{{- else if not (or $id $secret) }}
the credentials are missing: give port.existingSecret, a Secret with the keys PORT_CLIENT_ID and PORT_CLIENT_SECRET, or port.clientId and port.clientSecret (in Port: … menu > Credentials)
{{- else if not $secret }}
port.clientSecret is missing: port.clientId alone is not enough
{{- else if not $id }}
port.clientId is missing: port.clientSecret alone is not enough
{{- end }}
{{- end }}

{{- define "action-agent.problems.routes" }}
{{- $given := list }}
{{- range list "list" "file" "existingConfigMap" "path" }}
{{- if index $.Values.routes . }}{{ $given = append $given (printf "routes.%s" .) }}{{ end }}
{{- end }}
{{- if gt (len $given) 1 }}
{{ join " and " $given }} are given: routes come from one of them
{{- end }}
{{- if and $given .Values.controlThePayloadConfig }}
{{ join " and " $given }} and controlThePayloadConfig are given: either routes or a mapping file say what becomes of a message
{{- end }}
{{- with .Values.routes.file }}
{{- $file := fromYaml . }}
{{- if not (contains ":" .) }}
routes.file is {{ . | trim | quote }}: it takes the text of a file, as by --set-file routes.file=PATH; the path of one in the pod goes into routes.path
{{- else if $file.Error }}
routes.file is no routes file: {{ $file.Error }}
{{- else if not $file.routes }}
routes.file has no routes: it needs the key "routes" with a list
{{- end }}
{{- end }}
{{- end }}

{{- define "action-agent.problems.actions" }}
{{- range list "scripts" "python" }}
{{- $values := index $.Values . }}
{{- if and $values.files $values.existingConfigMap }}
{{ . }}.files and {{ . }}.existingConfigMap are given: give one of the two
{{- end }}
{{- end }}
{{- if .Values.scripts.files }}
{{- with include "action-agent.missingScripts" . }}
routes call {{ . }}, which scripts.files does not have: give it there by that name
{{- end }}
{{- end }}
{{- end }}

{{/* Variables that the chart makes, or reads to make something of them, must come to it where it looks. */}}
{{- define "action-agent.problems.settings" }}
{{- $read := list
      "AGENT_HTTP_PORT" "AGENT_DRAIN_TIMEOUT_S" "AGENT_KILL_GRACE_S" "AGENT_REPORT_TIMEOUT_S"
      "KAFKA_CONSUMER_GROUP_ID" "KAFKA_RUNS_TOPIC" "KAFKA_CONSUMER_AUTO_OFFSET_RESET" }}
{{- $made := dict
      "PORT_ORG_ID" "port.orgId"
      "PORT_API_BASE_URL" "port.baseUrl"
      "PORT_CLIENT_ID" "port.existingSecret, or port.clientId"
      "PORT_CLIENT_SECRET" "port.existingSecret, or port.clientSecret"
      "AGENT_ROUTES_PATH" "one of routes"
      "AGENT_PYTHONPATH" "python.path"
      "AGENT_STATE_DIR" "persistence.mountPath"
      "AGENT_TERMINATION_GRACE_S" "terminationGracePeriodSeconds" }}
{{- $all := deepCopy $made }}
{{- range $read }}{{ $_ := set $all . (printf "settings.%s" .) }}{{ end }}
{{- $extraEnv := dict }}
{{- range .Values.extraEnv }}{{ $_ := set $extraEnv (.name | default "") "" }}{{ end }}
{{- range list
      (list "settings" .Values.settings $made)
      (list "env.normal" .Values.env.normal (omit $made "PORT_ORG_ID" "PORT_API_BASE_URL"))
      (list "env.secret" .Values.env.secret (omit $all "PORT_CLIENT_ID" "PORT_CLIENT_SECRET"))
      (list "extraEnv" $extraEnv $all) }}
{{- $place := index . 0 }}
{{- $given := index . 1 }}
{{- range $name, $value := index . 2 }}
{{- if hasKey $given $name }}
{{ $place }}.{{ $name }} cannot be given there: give {{ $value }}
{{- end }}
{{- end }}
{{- end }}
{{- $known := merge (include "action-agent.ownVariables" . | fromJson) (include "action-agent.settings" . | fromJson) }}
{{- $secret := omit (include "action-agent.secretData" . | fromJson) "PORT_CLIENT_ID" "PORT_CLIENT_SECRET" }}
{{- range $place, $given := dict "env.secret" $secret "extraEnv" $extraEnv }}
{{- range $name, $_ := $given }}
{{- if and (hasKey $known $name) (not (hasKey $all $name)) }}
{{ $place }} gives {{ $name }} once more: other values make it already
{{- end }}
{{- end }}
{{- $known = merge $known $given }}
{{- end }}
{{- if eq (include "action-agent.httpPort" .) "0" }}
AGENT_HTTP_PORT is 0, which takes any free port: probes must know it, give another
{{- end }}
{{- include "action-agent.problems.forms" . }}
{{- end }}

{{/* Texts of which the schema could only say that they do not match. */}}
{{- define "action-agent.problems.forms" }}
{{- range $name, $value := include "action-agent.settings" . | fromJson }}
{{- if and (eq $name "STREAMER_NAME") (not (has (upper $value | trim) (list "KAFKA" "POLLING"))) }}
STREAMER_NAME is {{ $value }}: give KAFKA, POLLING, or leave it out
{{- else if regexMatch "^((AGENT|KAFKA)_.*_S|WEBHOOK_INVOKER_TIMEOUT)$" $name }}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]+)?$" $value) }}
{{ $name }} is {{ $value }}: give seconds, as a number without a unit, such as 600
{{- end }}
{{- else if and (regexMatch "^(AGENT|KAFKA)_.*_(MS|BYTES)$" $name) (not (regexMatch "^[0-9]+$" $value)) }}
{{ $name }} is {{ $value }}: give {{ ternary "milliseconds" "bytes" (hasSuffix "_MS" $name) }}, as a whole number without a unit
{{- end }}
{{- end }}
{{- end }}

{{/* Selectors ask for these, and a StatefulSet's and a Deployment's can never change. */}}
{{- define "action-agent.problems.labels" }}
{{- $ours := include "action-agent.selectorLabels" . | fromYaml }}
{{- range $place := list "extraLabels" "podLabels" }}
{{- range $name, $_ := index $.Values $place }}
{{- if hasKey $ours $name }}
{{ $place }}.{{ $name }} cannot be given: the chart's selectors ask for this label; give it another name
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "action-agent.problems.stopping" }}
{{- $least := include "action-agent.leastGraceSeconds" . | int64 }}
{{- with .Values.terminationGracePeriodSeconds }}
{{- if lt (int64 .) $least }}
terminationGracePeriodSeconds is {{ int64 . }}, but a stop can take {{ sub $least 1 }} s, and one second is to spare: give {{ $least }} or more, or shorten AGENT_DRAIN_TIMEOUT_S, AGENT_KILL_GRACE_S or AGENT_REPORT_TIMEOUT_S in settings
{{- end }}
{{- end }}
{{- if and .Values.persistence.enabled (ne (.Values.strategy.type | default "RollingUpdate") "RollingUpdate") }}
strategy.type is {{ .Values.strategy.type }}, which a StatefulSet (persistence.enabled) does not have: leave it out, and scale to 0 before the upgrade
{{- end }}
{{- end }}

{{- define "action-agent.problems.scaling" }}
{{- if and .Values.keda.enabled .Values.autoscaling.enabled }}
keda.enabled and autoscaling.enabled are both true: only one of them can decide over the replicas
{{- end }}
{{- range list "keda" "autoscaling" }}
{{- $values := index $.Values . }}
{{- if $values.enabled }}
{{- if not $values.maxReplicas }}
{{ . }}.maxReplicas is missing: the number of partitions of the topic {{ include "action-agent.runsTopic" $ }}, which `action-agent doctor` names
{{- else if gt (int $values.minReplicas) (int $values.maxReplicas) }}
{{ . }}.minReplicas is {{ int $values.minReplicas }}, more than {{ . }}.maxReplicas, {{ int $values.maxReplicas }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.keda }}
{{- if .enabled }}
{{- if and (eq .trigger "kafka") (not .kafka.bootstrapServers) }}
keda.kafka.bootstrapServers is missing: KEDA cannot ask Port for the brokers
{{- end }}
{{- if and (eq .trigger "prometheus") (not .prometheus.serverAddress) }}
keda.prometheus.serverAddress is missing: where KEDA asks, such as http://prometheus.monitoring:9090
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "action-agent.problems.ca" }}
{{- $ca := .Values.extraCA }}
{{- $selfSigned := .Values.selfSignedCertificate }}
{{- if and $ca.configMap $ca.secret }}
extraCA.configMap and extraCA.secret are given: give one of the two
{{- end }}
{{- if and $selfSigned.enabled (or $ca.configMap $ca.secret) }}
extraCA and selfSignedCertificate.enabled are given: the agent reads one file of CAs; put them into one
{{- end }}
{{- if and $ca.kafka (not (include "action-agent.caFile" .)) }}
extraCA.kafka is true, but there are no CAs: give extraCA.configMap or extraCA.secret
{{- end }}
{{- if $selfSigned.enabled }}
{{- if and $selfSigned.secret.useExistingSecret (not $selfSigned.secret.name) }}
selfSignedCertificate.secret.name is missing
{{- else if not (or $selfSigned.secret.useExistingSecret $selfSigned.certificate) }}
selfSignedCertificate.certificate is missing: the certificate's text, as by --set-file
{{- end }}
{{- end }}
{{- end }}

{{- define "action-agent.problems.image" }}
{{- $repository := .Values.image.repository }}
{{- $registry := .Values.image.registry | default "" }}
{{- if or (hasPrefix "/" $registry) (hasSuffix "/" $registry) (contains "://" $registry) }}
image.registry is {{ $registry }}: give a host and maybe a path, with no scheme and no slash at its ends, such as registry.internal/team
{{- end }}
{{- if regexMatch "[:@][^/]*$" $repository }}
image.repository is {{ $repository }}: a tag goes into image.tag, a digest into image.digest, the registry into image.registry
{{- end }}
{{- if not (regexMatch "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?)?$" (.Values.image.tag | default "")) }}
image.tag is {{ .Values.image.tag }}, which is no tag: it has letters, digits, dots, hyphens and underscores; a digest goes into image.digest
{{- end }}
{{- if and (hasSuffix "port-labs/port-agent" $repository) (not (include "action-agent.isOfficialImage" .)) }}
image.repository is {{ $repository }}, a copy of Port's own agent: this chart runs another program, give its image
{{- end }}
{{- end }}

{{/* Sizes that Kubernetes takes and nobody means. */}}
{{- define "action-agent.problems.sizes" }}
{{- $sizes := dict
      "persistence.sizeLimit" .Values.persistence.sizeLimit
      "persistence.size" .Values.persistence.size
      "tmp.sizeLimit" .Values.tmp.sizeLimit }}
{{- range $kind := list "requests" "limits" }}
{{- range $name, $size := pick (index ($.Values.resources | default dict) $kind | default dict) "memory" "ephemeral-storage" }}
{{- $_ := set $sizes (printf "resources.%s.%s" $kind $name) $size }}
{{- end }}
{{- end }}
{{- range $place, $value := $sizes }}
{{- $size := include "action-agent.text" $value }}
{{- if and (regexMatch "^[0-9.]+m?$" $size) (ne $size "0") (lt (trimSuffix "m" $size | float64) 1048576.0) }}
{{ $place }} is {{ $size }}: a number without a unit is bytes, and m is thousandths of one; give one such as 512Mi
{{- end }}
{{- end }}
{{- end }}
