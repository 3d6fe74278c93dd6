from django.apps import AppConfig


class BudgetsConfig(AppConfig):
    name = "apps.budgets"
    label = "budgets"
    verbose_name = "Budgets"

    def ready(self) -> None:
        # Here, because models must be loaded first.
        from apps.budgets.watching import BudgetWatcher
        from apps.usage.watching import watch_commits

        watch_commits(BudgetWatcher())
